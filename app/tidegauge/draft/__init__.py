"""Drafts specs from what a team already has: training data, an MLflow model, a Great Expectations suite, a TFDV schema.

A draft contains what its source says and leaves everything else to the defaults. Guesses, and parts of the source without a
counterpart in a spec, are comments. May use ``offline``, which reads the files, ``lineage``, and everything below them. Begin
with ``sketch.py``, which defines the content of a draft; ``spec_text.py`` writes it as YAML.
"""
