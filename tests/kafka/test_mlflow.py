"""A real MLflow server: drafts, lineage and rollbacks, on a real Kafka."""

import json
import os
import random
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from support.bridges import Bridge
from support.cluster import Cluster
from support.events import START, prediction
from support.mlflow_server import MlflowServer as Running
from support.schemas import mistakes
from support.servers import ask, wait_for
from tidegauge.alert.operations import AUDIT, OPERATIONS
from tidegauge.baseline.baseline import Baseline
from tidegauge.cli.main import main
from tidegauge.errors import RegistryError
from tidegauge.lineage.mlflow_reference import read_reference
from tidegauge.lineage.mlflow_server import MlflowServer
from tidegauge.models.read import load_file
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import FeatureSpec, ModelSpec


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def named(mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.url)
    return mlflow


def test_references_to_runs_models_and_aliases_are_resolved(named):
    server = MlflowServer.from_environment()
    run = read_reference(server, f"runs:/{named.runs[0]}")
    assert (run.run_id, run.parameters, run.metrics) == (named.runs[0], {"depth": "4"}, {"val_roc_auc": 0.87})
    assert run.lineage.commit == "9fceb02d"
    assert run.lineage.data_snapshot.startswith("s3://data/churn.parquet@")
    assert [column["name"] for column in run.signature["inputs"]] == ["age", "visits", "plan"]
    champion = read_reference(server, "models:/churn@champion")
    assert (champion.name, champion.version, champion.run_id) == ("churn", "2", named.runs[1])
    assert (
        champion.lineage == read_reference(server, "models:/churn/2").lineage == read_reference(server, "models:/churn").lineage
    )
    assert champion.signature == run.signature
    for unknown in ("runs:/0123", "models:/churn/9", "models:/churn@nobody", "models:/nothing/1"):
        with pytest.raises(RegistryError, match="refused"):
            read_reference(server, unknown)


@pytest.mark.parametrize("reference", ["run", "models:/churn/1", "models:/churn@champion"])
def test_a_draft_has_features_and_lineage_of_its_run(named, tmp_path, reference):
    source = f"runs:/{named.runs[0]}" if reference == "run" else reference
    output = tmp_path / "churn.yaml"
    assert main(["models", "init", "--from", source, "--output", str(output)]) == 0
    assert main(["models", "check", str(tmp_path)]) == 0
    spec = load_file(output)
    assert spec.task == "binary"
    assert spec.features == {"age": FeatureSpec("number"), "visits": FeatureSpec("number"), "plan": FeatureSpec("category")}
    assert spec.lineage.run_id == named.runs[1 if "@" in reference else 0]
    assert "tag team: growth" in output.read_text()


def test_a_baseline_has_its_lineage(named, tmp_path):
    (tmp_path / "churn.yaml").write_text("model: churn\ntask: binary\n")
    rng = random.Random(1)
    rows = [
        prediction(number, START + number, features={"age": rng.random()}, score=rng.random(), model_version="churn:1")
        | {"label": rng.randint(0, 1)}
        for number in range(200)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = ["baseline", "build", "--spec", str(tmp_path / "churn.yaml"), "--version", "churn:1",
             "--input", str(tmp_path / "train.jsonl"), "--output", str(tmp_path / "churn.json")]  # fmt: skip
    assert main([*built, "--lineage", f"runs:/{named.runs[0]}"]) == 0
    lineage = Baseline.from_json((tmp_path / "churn.json").read_bytes()).lineage
    assert (lineage.run_id, lineage.commit, lineage.parameters) == (named.runs[0], "9fceb02d", {"depth": "4"})
    assert lineage.url == f"{named.url}/#/experiments/0/runs/{named.runs[0]}"
    assert main([*built, "--lineage", "runs:/0123"]) == 1


def test_a_rollback_moves_the_alias_and_is_audited(named, broker, tmp_path):
    cluster = Cluster(broker, f"rollback-{random.randrange(10**6)}", tmp_path)
    cluster.apply(ModelRecord("churn", ModelSpec("churn")))
    topics = {f"TIDEGAUGE_{name.upper().replace('-', '_')}_TOPIC": topic for name, topic in cluster.settings.topics.items()}

    def roll_back(*flags):
        return subprocess.run(
            [sys.executable, "-m", "tidegauge", "rollback", "churn", "--bootstrap", cluster.settings.bootstrap,
             "--app-id", cluster.name, *flags],
            env=os.environ | topics, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    assert named.champion() == "2"
    unasked = roll_back("--to", "churn:1")
    assert (unasked.returncode, named.champion()) == (1, "2")
    assert "say --yes" in unasked.stderr
    unknown = roll_back("--to", "churn:7", "--yes")
    assert (unknown.returncode, named.champion()) == (1, "2")
    done = roll_back("--to", "churn:1", "--yes")
    assert (done.returncode, named.champion()) == (0, "1"), done.stderr
    assert "moves from version 2 to 1" in done.stdout
    assert "Done: the alias champion of churn names version 1." in done.stdout
    (entry,) = [json.loads(record.value) for record in cluster.read("tidegauge-audit")]
    assert (entry["action"], entry["target"], entry["outcome"]) == ("roll back", "churn", "accepted")
    assert entry["details"]["to"] == "churn:1"
    again = roll_back("--to", "churn:1", "--yes")
    assert again.returncode == 1
    assert "names version 1 already" in again.stderr


def test_a_champion_that_moves_is_marked_once_also_if_nobody_asked_then(named, broker, tmp_path):
    cluster = Cluster(broker, f"alias-{random.randrange(10**6)}", tmp_path)
    cluster.apply(ModelRecord("churn", ModelSpec("churn")), ModelRecord("other", ModelSpec("other")))
    server = MlflowServer.from_environment()
    server.move_alias("churn", "champion", "1")

    def marks():
        found = [json.loads(record.value) for record in cluster.read(OPERATIONS)]
        assert all(mistakes("operation", mark) == [] for mark in found)
        return [(mark["model"], mark["text"], mark["version"], mark["before"]) for mark in found]

    def seen():
        found = [json.loads(record.value) for record in cluster.read(AUDIT)]
        assert all(mistakes("audit-entry", entry) == [] for entry in found)
        return [(entry["target"], entry["details"]["version"]) for entry in found if entry["action"] == "see alias"]

    def acting():
        return Bridge(cluster, "act", "--alias-interval", "0.3", MLFLOW_TRACKING_URI=named.url)

    first = ("churn", "champion of churn moves from version 1 to 2", "2", "1")
    second = ("churn", "champion of churn moves from version 2 to 1", "1", "2")
    with acting().start().wait_ready() as act:
        wait_for(lambda: seen() == [("churn", "1")], 60, "the first look")
        server.move_alias("churn", "champion", "2")
        wait_for(lambda: marks() == [first], 60, "the mark")
        wait_for(lambda: seen() == [("churn", "1"), ("churn", "2")], 60, "the entry")
        act.kill()
    server.move_alias("churn", "champion", "1")
    with acting().start().wait_ready() as act:
        wait_for(lambda: marks() == [first, second], 60, "the second mark")
        wait_for(lambda: len(seen()) == 3, 60, "the entry")
        act.kill()
    with acting().start().wait_ready():
        cluster.apply(ModelRecord("third", ModelSpec("third", rollback="models:/churn@champion")))
        # It has looked at every model once more: the new one is the last of them.
        wait_for(lambda: ("third", "1") in seen(), 60, "the new model")
    assert marks() == [first, second]
    assert named.champion() == "1"


def test_mlflows_webhook_tells_that_a_champion_moved(named, broker, tmp_path):
    """Without polling; what is not signed with the secret tells nothing."""
    cluster = Cluster(broker, f"webhook-{random.randrange(10**6)}", tmp_path)
    cluster.apply(ModelRecord("churn", ModelSpec("churn")))
    server = MlflowServer.from_environment()
    server.move_alias("churn", "champion", "1")
    (tmp_path / "secret").write_text("of the webhook\n")

    def seen():
        found = [json.loads(record.value) for record in cluster.read(AUDIT)]
        return [entry["details"]["version"] for entry in found if entry["action"] == "see alias"]

    def marks():
        return [json.loads(record.value)["text"] for record in cluster.read(OPERATIONS)]

    secret = str(tmp_path / "secret")
    with Bridge(
        cluster, "act", "--alias-interval", "0", MLFLOW_TRACKING_URI=named.url, TIDEGAUGE_MLFLOW_WEBHOOK_SECRET_FILE=secret
    ) as act:  # fmt: skip
        act.wait_ready()
        wait_for(lambda: seen() == ["1"], 60, "the first look")
        page = f"http://127.0.0.1:{act.port}/mlflow"
        forged = urllib.request.Request(page, b"{}", {"X-MLflow-Signature": "v1,AAAA", "X-MLflow-Delivery-Id": "a"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(forged, timeout=20)
        webhook = ask(
            f"{named.url}/api/2.0/mlflow/webhooks",
            {
                "name": "tidegauge", "url": page, "secret": "of the webhook", "status": "ACTIVE",
                "events": [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}],
            },
        )["webhook"]  # fmt: skip
        server.move_alias("churn", "champion", "2")
        wait_for(lambda: seen() == ["1", "2"], 60, "the look that the webhook asks for")
        assert marks() == ["champion of churn moves from version 1 to 2"]
        urllib.request.urlopen(
            urllib.request.Request(f"{named.url}/api/2.0/mlflow/webhooks/{webhook['webhook_id']}", method="DELETE"), timeout=20
        )
    server.move_alias("churn", "champion", "1")
