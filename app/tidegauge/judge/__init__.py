"""Judges numbers: decides whether a metrics record breaches a monitor's condition, and finds the evidence.

May use ``metrics``, ``detect``, ``baseline`` and everything below them. Knows nothing of alerts: a verdict is about one window.
Begin with ``conditions.py``. ``limits.py`` computes limits, ``few_values.py`` judges faults among few values, ``evidence.py``
finds what moved, ``metric_names.py`` lists the metrics, and ``meaning.py`` puts a verdict into words.
"""
