"""Online change detectors: one algorithm a file behind a common interface, fed single values in the order of event time.

May use ``baseline`` and everything below it, but not ``metrics``, since detectors see values and not windows. Begin with
``detectors.py``, which has the table of algorithms. ``value_streams.py`` defines the streams of values, ``waiting.py`` puts
values in order, ``budget.py`` tunes a detector to a budget of false alarms.
"""
