"""tidegauge in a notebook or a job: data frames in, data frames and a report out, by the same code as the commands.

May use everything below ``console``, as ``offline``, ``report`` and ``models``; knows no Kafka. Frames are pandas', polars' or
pyarrow's, through narwhals, which has no opinion of its own. Begin with ``replay_run.py``; ``frames.py``
turns frames into files and back, ``tidy.py`` records into rows.
"""
