"""Baselines: the profile, bin edges and metrics of reference data, and how much their windows differ from each other.

May use ``profile`` and everything below it. Begin with ``baseline.py``. ``dispersion.py`` measures how far rows are from
independent, ``contrasts.py`` defines what bin counts are compared with, ``isotonic.py`` calibrates scores, and ``tuning.py``
holds what detectors need.
"""
