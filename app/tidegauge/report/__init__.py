"""`tidegauge report`: a model's day, week or any other period as one HTML file and one JSON document.

Built from the topics' records or from the output of `tidegauge replay`; reads no clock and no topic itself. May use
``metrics`` and everything below it. Begin with ``build.py``. ``archive.py`` holds the records that a report is built from,
``summary.py`` pools windows into a period, ``page.py`` renders the page with the plots of ``plots.py``; ``model_card.py`` and
``card_page.py`` do the same for model cards.
"""
