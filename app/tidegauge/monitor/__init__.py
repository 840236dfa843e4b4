"""The monitor stage: profile deltas of one model, from all partitions, to windows, metrics records, verdicts and alerts.

Pure: records in, state changes and records out. May use ``models``, ``rollout``, ``alert``, ``judge``, ``detect``,
``metrics`` and all below, but not ``join``: the two stages meet in ``engine/delta.py`` only. Begin with ``stage.py``;
``windows.py`` has the windows (each one's ``window_headers.py``), ``window_rows.py`` what is not counted yet, ``settling.py``
when labels are in; ``pending_windows.py`` and ``due_windows.py`` say which window is published when, ``publishing.py`` does it
with the numbers of ``window_records.py``, and ``judging.py`` concludes from them. ``learning.py`` makes baselines of first
predictions, ``early_parts.py`` keeps what arrived ahead of event time, ``rollouts.py`` compares versions.
"""
