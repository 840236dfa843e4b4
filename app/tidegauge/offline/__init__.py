"""Runs the two stages over files, without Kafka: `tidegauge replay` and `tidegauge baseline build`.

The stages are the same as in ``stream``, but run in one process, so a replay has the same results as a worker. May use the
stages and everything below them. Begin with ``replay.py``. ``reference.py`` builds a baseline from reference data;
``sources.py`` and ``tables.py`` read files.
"""
