"""Online change detectors: algorithms of one file each behind one interface, fed single values in the order of event time.

May use ``baseline`` and all below, not ``metrics``: detectors see values, not windows. Begin with ``detectors.py``, which has
the table of algorithms; ``value_streams.py`` says which values there are, ``waiting.py`` puts them in order, ``budget.py``
turns a budget of false alarms into a parameter.
"""
