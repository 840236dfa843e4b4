"""Mergeable summaries, one kind a file: what travels between the stages, what a window is, what a baseline is made of.

Profiles are values: built from columns, merged, packed into bytes. The data side only grows; the outcome side is additive to
the last bit, so that it can be taken back. May use ``engine`` and ``spec``. Begin with ``schema.py`` (what is known of
features), then ``data.py`` and ``outcome.py``; ``sums.py`` says why sums are exact.
"""
