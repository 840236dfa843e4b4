"""Defines stages and what passes between them: records, stores, events, deltas, event time.

May use only ``spec`` and ``errors``. Begin with ``stage.py``. ``events.py`` reads what services send, ``delta.py`` defines the
messages from the join to the monitor, ``event_time.py`` tracks the progress of event time, and ``arrival_quanta.py`` explains
why verdicts do not depend on lag.
"""
