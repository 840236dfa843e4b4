"""Specs drafted from what a team has: training data, an MLflow model, a Great Expectations suite, a TFDV schema.

A draft says what its source says and leaves all else to the defaults; what it can only guess, and what has no counterpart,
stands in it as a comment. May use ``offline``, which reads the files, ``lineage``, and all below. Begin with ``sketch.py``,
what a draft holds; ``spec_text.py`` writes it down.
"""
