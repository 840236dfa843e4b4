"""What a stage is, and what travels between stages: records, stores, events, deltas, event time.

Lies below everything but ``spec`` and ``errors``, which are all it may use. Begin with ``stage.py``; ``events.py`` is what
services send, ``delta.py`` what the join tells the monitor, ``event_time.py`` how far time has come, ``arrival_quanta.py``
why lag changes no verdict.
"""
