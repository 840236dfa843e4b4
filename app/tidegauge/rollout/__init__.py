"""Compares two versions of a model that run at the same time: promote the challenger, keep watching, or roll it back.

May use ``judge``, ``metrics`` and everything below them. The compared numbers come from ``metrics/comparison.py``, the
statistical inference from ``metrics/sequential.py``. Begin with ``compared_versions.py``, which says which versions are
compared and what state is kept; ``verdict.py`` decides and ``comparison_record.py`` builds the published record.
``monitor/rollouts.py`` says when this happens.
"""
