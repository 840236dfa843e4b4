"""Metrics records as numbers for Prometheus: names, labels, base units, and the remote-write format.

Pure mapping: who is asked for the numbers, or sends them, lies in ``stream``. May use ``rollout`` and all below it. Begin
with ``window_samples.py``; ``rollout_samples.py`` is the same for comparisons of versions, ``remote_write.py`` for windows
in the past.
"""
