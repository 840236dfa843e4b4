"""The two stages over files, without Kafka: `tidegauge replay` and `tidegauge baseline build`.

The same stages as in ``stream``, driven in one process, so that a replay says what a worker would have said. May use the
stages and all below them. Begin with ``replay.py``; ``reference.py`` turns reference data into a baseline.
"""
