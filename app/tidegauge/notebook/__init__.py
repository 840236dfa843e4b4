"""tidegauge in a notebook or a job: takes data frames and returns data frames and reports, with the same code as the commands.

May use everything below ``console``, such as ``offline``, ``report`` and ``models``; knows no Kafka. Data frames are those of
pandas, polars or pyarrow, through narwhals. Begin with ``replay_run.py``. ``frames.py`` converts data frames to files and rows
to data frames, ``tidy.py`` converts records to rows.
"""
