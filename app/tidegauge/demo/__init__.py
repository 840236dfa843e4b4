"""`tidegauge demo`: the whole product on one machine, on the flights out of New York in 2013."""
