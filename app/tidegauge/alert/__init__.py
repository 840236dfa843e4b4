"""Alerts: from verdicts to ``firing`` and ``resolved``, each once, and what people and Alertmanager are told.

Pure: the monitor stage keeps alerts in its store, and ``stream`` talks to Alertmanager. May use ``judge``, ``metrics`` and
all below. Begin with ``life_cycle.py``, the table of what happens when; ``book.py`` moves alerts on by verdicts and
``detections.py`` by what detectors find, among the states that ``states.py`` keeps; ``announcing.py`` makes their events,
``playbooks.py`` says which page helps, ``paging.py`` and ``alertmanager_silences.py`` are what Alertmanager is told,
``operations.py`` what people decided.
"""
