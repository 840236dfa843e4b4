"""The join stage: predictions and labels of one partition, matched by request id and summed up in profile deltas.

Pure: records in, state changes and records out. May use ``models`` and all below, not ``monitor``. Begin with ``stage.py``;
``prediction_matching.py`` and ``label_matching.py`` are the join itself, on the states of requests (``request_state.py``);
what was matched waits in ``waiting_rows.py``, becomes columns (``columns.py``) and profiles (``pane_profiles.py``), and
``gathering.py`` makes one delta a model of them; ``progress.py`` says how far event time has come.
"""
