"""Alerts: turns verdicts into ``firing`` and ``resolved``, each sent once, and builds what people and Alertmanager read.

Has no side effects of its own: the monitor stage keeps alerts in its store, and ``stream`` talks to Alertmanager. May use
``judge``, ``metrics`` and everything below them. Begin with ``life_cycle.py``, the table of state changes. ``book.py`` updates
alerts by verdicts and ``detections.py`` by what detectors find; ``states.py`` keeps the states; ``announcing.py`` builds the
events; ``listing.py`` lists them for people; ``playbooks.py`` finds the page that helps; ``paging.py`` and
``alertmanager_silences.py`` build the requests to Alertmanager; ``operations.py`` holds what people decided.
"""
