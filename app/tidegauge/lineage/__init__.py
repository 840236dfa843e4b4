"""The origin of models according to MLflow (runs, versions and aliases, through its REST API), and rolling models back.

The API is called with the standard library, so tidegauge does not need MLflow. May use ``spec`` and ``errors``. Begin with
``mlflow_server.py``, which makes the requests. ``mlflow_reference.py`` resolves ``runs:/…`` and ``models:/…``;
``wandb_run.py`` reads the directory of a run of Weights & Biases; ``rolling_back.py`` moves an alias or calls a hook
(``hook.py``); ``openlineage_events.py`` tells a catalogue what a command reads and writes.
"""
