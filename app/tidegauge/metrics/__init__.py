"""Profiles, and a baseline, to numbers: one concern a file.

Pure functions: a profile of a window, most often with a baseline, to a part of the metrics record, with intervals and
p-values beside the numbers. May use ``baseline`` and ``profile``. Begin with ``record.py``, which puts the record together;
then the concern you are after: ``drift.py``, ``shift.py``, ``performance.py``, ``calibration.py``, ``fairness.py``,
``business.py``, ``estimated.py`` and others.
"""
