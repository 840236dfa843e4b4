"""Comparing two versions of a model that are seen together: promote the challenger, keep watching, or roll it back.

May use ``judge``, ``metrics`` and all below. The numbers that are compared come from ``metrics/comparison.py``, the
inference from ``metrics/sequential.py``. Begin with ``compared_versions.py``: who is compared with whom, and what is kept of
it; ``verdict.py`` decides, ``comparison_record.py`` writes the record. When that happens is for ``monitor/rollouts.py``.
"""
