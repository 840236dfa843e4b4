"""The console: a view of the topics for people and scripts. The view itself is pure; only ``server`` and ``api`` know HTTP."""
