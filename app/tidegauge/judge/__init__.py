"""Numbers to verdicts: whether a metrics record breaches a monitor's condition, and what supports that.

May use ``metrics``, ``detect``, ``baseline`` and all below. Knows no alert: one verdict is about one window. Begin with
``conditions.py``; ``limits.py`` says where a limit lies, ``evidence.py`` what moved, ``metric_names.py`` which metrics there
are.
"""
