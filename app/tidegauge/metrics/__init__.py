"""Computes the numbers of a metrics record from profiles and a baseline, one concern in each file.

All are pure functions from a window's profile, mostly with a baseline, to a part of the metrics record, with intervals and
p-values beside the numbers. May use ``baseline`` and everything below it. Begin with ``record.py``, which assembles the record;
then read the concern of interest: ``drift.py``, ``shift.py``, ``performance.py``, ``calibration.py``, ``fairness.py``,
``business.py``, ``estimated.py`` and others.
"""
