"""Reports on a schedule by Prefect: one task a model, tried again if Kafka is away.

    python report_flow.py --model churn_xgb --model fraud --every day --output reports                       # now
    python report_flow.py --model churn_xgb --every week --output reports --cron "30 6 * * 1"                # and from now on

`tidegauge` must be on the PATH (or TIDEGAUGE_COMMAND say where it is), its settings in the environment (TIDEGAUGE_BOOTSTRAP
...). It need not live in Prefect's Python environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess

from prefect import flow, get_run_logger, task


@task(retries=3, retry_delay_seconds=60, task_run_name="report-{model}")
def report(model: str, every: str, output: str, dates: tuple[str, ...]) -> list[str]:
    """The pages written for one model."""
    command = [
        os.environ.get("TIDEGAUGE_COMMAND", "tidegauge"),
        "report",
        "--model",
        model,
        "--every",
        every,
        "--output",
        output,
    ]
    done = subprocess.run([*command, *dates], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"tidegauge report ended with {done.returncode}")
    pages = done.stdout.split()
    get_run_logger().info("%s: %s", model, ", ".join(pages))
    return pages


@flow(name="tidegauge-reports")
def reports(models: list[str], every: str = "day", output: str = "reports", dates: tuple[str, ...] = ()) -> list[str]:
    """The pages of all models. ``dates``: --from and --to with their days, for other periods than the last one."""
    runs = [report.submit(model, every, output, dates) for model in models]
    return [page for run in runs for page in run.result()]


def main() -> None:
    """Run once, or serve on a schedule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, help="which model; several may be given")
    parser.add_argument("--every", choices=("day", "week"), default="day")
    parser.add_argument("--output", default="reports", help="directory")
    parser.add_argument("--from", dest="start", help="first day, where it is not the last day or week")
    parser.add_argument("--to", dest="end", help="the day it ends before")
    parser.add_argument("--cron", help="serve the flow on this schedule (UTC)")
    given = parser.parse_args()
    if given.cron:
        parameters = {"models": given.model, "every": given.every, "output": given.output}
        reports.serve(name=f"tidegauge-{given.every}", cron=given.cron, parameters=parameters)
        return
    dates = tuple(part for flag, day in (("--from", given.start), ("--to", given.end)) if day for part in (flag, day))
    for page in reports(given.model, given.every, given.output, dates):
        print(page)


if __name__ == "__main__":
    main()
