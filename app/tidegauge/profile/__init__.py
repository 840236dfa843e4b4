"""Mergeable summaries, one kind in each file, which deltas, windows and baselines consist of.

Profiles are values that are built from columns, merged, and packed into bytes. The data side only grows; the outcome side is
exactly additive, so that outcomes can be taken back. May use ``engine`` and ``spec``. Begin with ``schema.py`` (the features
and their bins), then read ``data.py`` and ``outcome.py``; ``sums.py`` explains why sums are exact.
"""
