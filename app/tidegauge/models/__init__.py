"""What is known of the models being watched: specs as YAML files, and the records of the topic ``models``.

A spec's own type is ``tidegauge.spec``; here it is read, checked and kept. May use ``judge``, ``detect`` and all below,
since a spec is checked against what monitors and detectors can do. Begin with ``registry.py``, which the stages ask.
``read.py`` reads a spec's file, with ``read_baselines.py``, ``read_monitors.py`` and ``read_rollouts.py`` for its larger
members; ``directory.py`` makes records of a directory of them; ``default_monitors.py`` is for specs that name none.
"""
