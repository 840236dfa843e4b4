"""`tidegauge demo`: shows the whole product on one machine, with the flights from New York in 2013.

May use every package except ``cli``, since it starts a broker, workers and a console. Begin with ``run.py``. ``flights.py`` has
the monitored model, ``incidents.py`` the faults, ``dataset.py`` the events, and ``findings.py`` compares alerts with faults.
"""
