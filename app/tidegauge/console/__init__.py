"""`tidegauge console`: shows the content of the topics to people in a browser and to scripts over HTTP.

It stores nothing itself and rebuilds everything from the topics. May use ``stream`` (to read topics) and everything below it.
Begin with ``view.py``, which takes records and knows neither Kafka nor HTTP. ``answers.py`` answers questions from the view,
``api.py`` lists the HTTP routes, which ``guard.py`` and ``access.py`` protect, ``process.py`` assembles and runs everything,
and ``static/`` holds the pages for the browser.
"""
