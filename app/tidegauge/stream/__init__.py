"""Kafka and Faust: drives the two stages, exactly once, and reads and writes every other topic.

The only package, besides ``tidegauge.client``, that may import aiokafka and Faust; side effects live here. It may use the
stages and all below them, and decides nothing about models. Begin with ``task.py``, the transaction that makes a stage's
work count once; then ``app.py`` (which tasks there are, when they checkpoint), ``store.py`` and ``changelog.py`` (their
state), ``transport.py`` (chunks of records through Faust), ``worker.py`` (one process). ``notify.py`` and
``history_writer.py`` hand topics on to Alertmanager and Prometheus.
"""
