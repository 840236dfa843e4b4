"""The join stage: matches predictions and labels of one partition by request id, and summarises them in profile deltas.

Has no side effects. May use ``models`` and everything below it, but not ``monitor``. Begin with ``stage.py``.
``prediction_matching.py`` and ``label_matching.py`` are the join itself, on the states of requests (``request_state.py``).
Matched rows wait in ``waiting_rows.py``, become columns (``columns.py``) and profiles (``pane_profiles.py``), from which
``gathering.py`` makes one delta for each model; ``progress.py`` tracks event time, ``expiry.py`` finds requests past the label
horizon.
"""
