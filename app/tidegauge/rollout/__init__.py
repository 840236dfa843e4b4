"""Comparing two versions of a model that are seen together: promote the challenger, keep watching, or roll it back.

May use ``judge``, ``metrics`` and all below. The numbers that are compared come from ``metrics/comparison.py``, the
inference from ``metrics/sequential.py``. Begin with ``pair.py``, what is kept of two versions; ``verdict.py`` decides,
``comparison_record.py`` tells it.
"""
