"""`tidegauge demo`: the whole product on one machine, on the flights out of New York in 2013.

May use every package but ``cli``: it starts a broker, workers and a console as anyone would. Begin with ``run.py``;
``flights.py`` is the model being watched, ``incidents.py`` what goes wrong, ``dataset.py`` the events, ``findings.py`` what
was found in them.
"""
