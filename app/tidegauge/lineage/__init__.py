"""Where a model came from, as a registry of models knows it: MLflow's runs, versions and aliases, by its REST API.

The API is spoken with the standard library, so that nobody installs MLflow for tidegauge. May use ``spec`` and ``errors``.
Begin with ``mlflow_server.py``, the requests; ``mlflow_reference.py`` says what ``runs:/…`` and ``models:/…`` name.
"""
