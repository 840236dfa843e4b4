"""Kafka and Faust: runs the two stages with exactly-once semantics, and reads and writes all topics.

The only package besides ``tidegauge.client`` that may import aiokafka and Faust, and the home of side effects. It may use the
stages and everything below them, and decides nothing about models. Begin with ``task.py``, whose transactions make a stage's
work count exactly once. Then read ``app.py`` (the tasks of a worker and their checkpoints), ``store.py`` and ``changelog.py``
(their state), ``transport.py`` (chunks of records through Faust) and ``worker.py`` (one process). ``notify.py`` and
``history_writer.py`` forward topics to Alertmanager and Prometheus.
"""
