"""The monitor stage: profile deltas of one model, from all partitions, to windows, metrics records, verdicts and alerts.

Pure: records in, state changes and records out. May use ``models``, ``rollout``, ``alert``, ``judge``, ``detect``,
``metrics`` and all below, but not ``join``: the two stages meet in ``engine/delta.py`` only. Begin with ``stage.py``;
``windows.py`` says which windows there are and how each stands, ``window_rows.py`` what of them is not counted yet,
``settling.py`` when its labels are in, ``due_windows.py`` when it is published, ``publishing.py`` what is said of it,
``window_records.py`` its numbers, ``judging.py`` what is concluded from it. ``learning.py`` makes baselines of first
predictions, ``early_parts.py`` keeps what arrived ahead of event time, ``rollouts.py`` compares versions.
"""
