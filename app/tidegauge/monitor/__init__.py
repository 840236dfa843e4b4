"""The monitor stage: turns profile deltas of a model, from all partitions, into windows, metrics records, verdicts and alerts.

Has no side effects. May use ``models``, ``rollout``, ``alert``, ``judge``, ``detect``, ``metrics`` and everything below them,
but not ``join``: the stages share only ``engine/delta.py``. Begin with ``stage.py``. ``windows.py`` holds windows,
``part_merging.py`` merges deltas into them, ``window_rows.py`` holds rows that are not counted yet, ``settling.py`` decides
when labels are in. ``pending_windows.py`` and ``due_windows.py`` decide when a window is published, ``publishing.py`` publishes
it with the numbers of ``window_records.py``, and ``judging.py`` judges it. ``learning.py`` learns baselines from first
predictions, ``early_parts.py`` keeps what is ahead of event time, ``rollouts.py`` compares versions.
"""
