"""Makes the runs of Weights & Biases in ``tests/fixtures/wandb``. ``make wandb-runs`` starts it from an empty directory, in an
environment with wandb, as ``python wandb_runs.py OUTPUT``. What wandb notes of the machine is left out."""

import gzip
import subprocess
import sys
from pathlib import Path

import wandb

SETTINGS = {"mode": "offline", "x_disable_stats": True, "x_disable_meta": True, "host": "host", "console": "off"}
GIT = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]


def run(name, entity, config, more):
    with wandb.init(project="churn", entity=entity, id=name, config=config, settings=wandb.Settings(**SETTINGS)) as made:
        data = wandb.Artifact("churn-train", "dataset")
        data.add_file("train.csv")
        made.log_artifact(data)
        model = wandb.Artifact("churn-model", "model")
        model.add_file("train.csv")
        made.log_artifact(model)
        made.config.update(more, allow_val_change=True)
        made.log({"auc": 0.87})
        directory = Path(made.dir).parent
    return directory / f"run-{name}.wandb"


if __name__ == "__main__":
    Path("train.csv").write_text("age,label\n41,1\n")
    subprocess.run([*GIT, "init", "-q"], check=True)
    stamped = ["env", "GIT_COMMITTER_DATE=2026-11-28T00:00:00Z", "GIT_AUTHOR_DATE=2026-11-28T00:00:00Z"]
    subprocess.run([*stamped, *GIT, "commit", "-q", "--allow-empty", "-m", "model"], check=True)
    made = [run("nightly1", "growth", {"depth": 4, "source": {"table": "churn"}, "kind": "gbm"}, {"depth": 6})]
    # A configuration of several of the log's blocks.
    made.append(run("nightly2", None, {"long": "x" * 100_000, "depth": 4}, {"rate": 0.1}))
    # Only then all is written.
    wandb.teardown()
    for file in made:
        (Path(sys.argv[1]) / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
