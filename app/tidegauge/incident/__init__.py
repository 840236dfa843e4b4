"""Groups alerts that have one cause into an incident.

Sees alerts only as they are published, not how they arose: it may use ``judge``, ``metrics``, ``engine`` and ``spec``. Begin
with ``causal_graph.py``, which says what can follow from what. ``membership.py`` finds the incident an alert belongs to and the
alert that is the incident's cause, ``sentences.py`` puts an incident into words, and ``incident_book.py`` keeps the incidents
of a monitor task and publishes their changes.
"""
