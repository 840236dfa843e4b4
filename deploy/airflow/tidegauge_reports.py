"""Reports and model cards on a schedule by Airflow: lay this file into the folder of DAGs. One task a model, tried again if
Kafka is away.

`tidegauge` must be on the workers' PATH (or TIDEGAUGE_COMMAND say where it is), its settings in their environment
(TIDEGAUGE_BOOTSTRAP ...). It need not live in Airflow's Python environment.
"""

from __future__ import annotations

import datetime
import os
import subprocess

from airflow.decorators import dag, task
from airflow.models.param import Param

RETRY = {"retries": 3, "retry_delay": datetime.timedelta(minutes=1)}


def tidegauge(*arguments: str) -> list[str]:
    """What a command prints, a line each: the pages written. Raises RuntimeError with what it says where it fails."""
    command = [os.environ.get("TIDEGAUGE_COMMAND", "tidegauge"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout.split()


@dag(
    schedule="0 6 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    # A report says itself which day it is of; those of missed days would be of yesterday, too.
    catchup=False,
    default_args=RETRY,
    params={
        "models": Param(["churn_xgb"], type="array", items={"type": "string"}),
        "output": Param("reports", type="string", description="directory, kept from run to run"),
        "dates": Param([], type="array", description="--from and --to with their days, for other periods than the last day"),
    },
)
def tidegauge_reports() -> None:
    @task
    def models(params: dict[str, object] | None = None) -> list[str]:
        return list(params["models"])

    @task
    def report(model: str, params: dict[str, object] | None = None) -> list[str]:
        """The pages of the last day."""
        output = os.path.join(params["output"], "day")
        return tidegauge("report", "--model", model, "--every", "day", "--output", output, *params["dates"])

    @task
    def card(model: str, params: dict[str, object] | None = None) -> list[str]:
        """The model's card as it stands."""
        return tidegauge("card", model, "--output", os.path.join(params["output"], "cards"))

    of = models()
    report.expand(model=of)
    card.expand(model=of)


tidegauge_reports()
