"""Alerts that have one cause, as one incident.

Knows alerts as they are published and nothing of how they came to be: it may use ``judge``,
``metrics``, ``engine`` and ``spec``.
``causal_graph.py`` says what can follow from what, ``membership.py`` which incident an alert belongs to and which alert is its
cause, ``sentences.py`` how to say it, and ``incident_book.py`` keeps the incidents of a monitor task and publishes what becomes
of them. Begin with ``causal_graph.py``.
"""
