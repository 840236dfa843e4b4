"""`tidegauge console`: the topics, shown to people in a browser and to scripts over HTTP.

It keeps nothing of its own but rebuilds everything from the topics. Below lies the view, which knows neither Kafka nor HTTP:
records in, answers out. May use ``stream`` (to read topics) and all below it. Begin with ``view.py``; ``answers.py`` is what
can be asked of it, ``api.py`` the routes that ask over HTTP, behind ``guard.py`` and ``access.py``; ``process.py`` puts it
together, ``static/`` is what the browser runs.
"""
