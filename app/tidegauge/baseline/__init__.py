"""What reference data say: their profile, bin edges and metrics, and how much their windows differ from each other.

May use ``profile`` and what is below. Begin with ``baseline.py``; ``dispersion.py`` says how far rows are from independent,
``contrasts.py`` what bins are compared with, ``isotonic.py`` calibrates scores, ``tuning.py`` holds what detectors need.
"""
