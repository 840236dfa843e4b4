"""The monitored models: reads and checks specs in YAML files, and keeps the records of the topic ``models``.

The types of a spec are in ``tidegauge.spec``. May use ``judge``, ``detect`` and everything below them, since a spec is checked
against what monitors and detectors can do. Begin with ``registry.py``, which the stages query. ``read.py`` reads a spec file,
using ``read_baselines.py``, ``read_monitors.py``, ``read_rollouts.py`` and ``read_actions.py`` for its larger members;
``directory.py`` makes records from a directory of specs; ``default_monitors.py`` gives the monitors of a spec that names none.
"""
