"""The join stage: predictions and labels of one partition, matched by request id and summed up in profile deltas.

Pure: records in, state changes and records out. May use ``models`` and all below, not ``monitor``. Begin with ``stage.py``;
``matching.py`` is the join itself on the states of requests (``request_state.py``), ``gathering.py`` turns what was matched
into columns (``columns.py``) and those into profiles, ``progress.py`` says how far event time has come.
"""
