"""`tidegauge report`: a model's day, week or any other period as one HTML file and one JSON document.

Made from the topics' records or from what `tidegauge replay` wrote; reads no clock and no topic itself. May use ``metrics``
and what is below. Begin with ``build.py``; ``archive.py`` is what it is made from, ``summary.py`` how windows become a
period, ``page.py`` the page.
"""
