"""Converts metrics records to samples for Prometheus: names, labels, base units, and the remote-write format.

Has no side effects: ``stream`` serves and sends the samples. May use ``rollout`` and everything below it. Begin with
``window_samples.py``. ``rollout_samples.py`` does the same for comparisons of versions, ``remote_write.py`` for windows in the
past.
"""
