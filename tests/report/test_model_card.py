"""A model card from what `replay` wrote: numbers are those of a batch computation, metadata is YAML, text only text."""

import json
import random

import pytest
import yaml
from sklearn.metrics import accuracy_score

from support.events import START, prediction
from tidegauge.cli.main import main

SPEC = """
model: churn
task: binary
segments: [region]
windows: [1d]
label_horizon: 1d
intended_use: "Whom to call | before they cancel <b>never</b> to set prices"
monitors:
  - {name: errors, metric: system.error_ratio, window: 1d, above: 0.1, severity: critical}
  - {name: accuracy, metric: performance.accuracy, window: 1d, below: 0.5}
detectors:
  - {name: mistakes, stream: error, algorithm: adwin}
lineage: {run_id: 3f2a, commit: 9fceb02, url: "https://mlflow.example.org/#/runs/3f2a", parameters: {max_depth: "6"}}
"""


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """A directory with specs, events of three days, and what `replay` made of them; the rows: version, region, right answer."""
    directory = tmp_path_factory.mktemp("card")
    (directory / "models").mkdir()
    (directory / "models/churn.yaml").write_text(SPEC)
    rng = random.Random(3)
    rows, predictions, labels = [], [], []
    for number in range(3000):
        ts = START + number / 3000 * 3 * 86400
        region = "eu" if number % 3 == 0 else "br" if number % 100 == 1 else "us"
        truth = rng.random() < 0.4
        said = truth if rng.random() < (0.6 if region == "eu" else 0.9) else not truth
        version = "churn:1" if number < 1000 else "churn:2"
        failed = {"error": "no memory"} if 1000 <= number < 1400 else {"prediction": int(said), "score": 0.8 if said else 0.2}
        predictions.append(prediction(number, ts, segments={"region": region}, model_version=version) | failed)
        if "error" not in failed:
            labels.append({"request_id": f"r{number}", "ts": ts + 60, "label": int(truth)})
            rows.append((version, region, int(truth), int(said)))
    for name, events in (("predictions", predictions), ("labels", labels)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert main(["replay", "--models", str(directory / "models"), "--predictions", str(directory / "predictions.jsonl"),
                 "--labels", str(directory / "labels.jsonl"), "--output", str(directory / "out")]) == 0  # fmt: skip
    return directory, rows


def made(directory, output, *flags):
    """Metadata and body of the card."""
    given = ["--replay", str(directory / "out"), "--models", str(directory / "models"), "--output", str(output)]
    assert main(["card", "churn", *given, *flags]) == 0
    (path,) = output.glob("*.md")
    _, block, body = path.read_text().split("---\n", 2)
    return yaml.safe_load(block), body, path.with_suffix(".html").read_text()


def row(body, name):
    """The cells of the first row that begins so."""
    line = next(line for line in body.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_numbers_of_a_card_are_those_of_a_batch_computation(replayed, tmp_path):
    directory, rows = replayed
    block, body, _ = made(directory, tmp_path)
    mine = [row for row in rows if row[0] == "churn:2"]
    expected = accuracy_score([truth for _, _, truth, _ in mine], [said for *_, said in mine])
    (result,) = block["model-index"][0]["results"]
    numbers = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert numbers["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert block["pipeline_tag"] == "tabular-classification"
    assert block["model_name"] == "churn:2"
    assert row(body, "accuracy")[1].startswith(f"{expected:.4g} (")
    european = [row for row in mine if row[1] == "eu"]
    share = sum(truth == said for _, _, truth, said in european) / len(european)
    assert f"{share:.4g} (" in " ".join(row(body, "region=eu"))


def test_a_card_says_lineage_intended_use_monitoring_and_history(replayed, tmp_path):
    _, body, html = made(replayed[0], tmp_path)
    assert row(body, "run id")[1] == "3f2a"
    assert row(body, "url")[1].endswith("/runs/3f2a")
    assert row(body, "parameter max\\_depth")[1] == "6"
    assert row(body, "errors")[3] == "above 0.1"
    assert "region=eu is 0." in body
    assert "region=br has " in body
    assert "There is no reference data" in body
    assert "| errors | critical | 2025-09-2" in body
    assert "&lt;b&gt;never&lt;/b&gt;" in html
    assert "<b>" not in html
    assert html.count("<table>") == body.count("\n|---")


def test_a_card_of_another_version_and_an_unknown_one(replayed, tmp_path, capsys):
    block, body, _ = made(replayed[0], tmp_path, "--version", "churn:1")
    assert block["model_name"] == "churn:1"
    assert "Alerts so far\n\nNone." in body
    given = ["--replay", str(replayed[0] / "out"), "--output", str(tmp_path)]
    assert main(["card", "churn", "--version", "churn:9", *given]) == 1
    assert "known versions: churn:1, churn:2" in capsys.readouterr().err
    assert main(["card", "chrn", *given]) == 1
    assert "known models: churn" in capsys.readouterr().err


def test_a_report_brings_the_card_along(replayed, tmp_path, capsys):
    directory, _ = replayed
    assert main(["report", "--model", "churn", "--from", "2025-09-27", "--to", "2025-09-28", "--replay", str(directory / "out"),
                 "--card", "--models", str(directory / "models"), "--output", str(tmp_path / "reports")]) == 0  # fmt: skip
    told = capsys.readouterr().out.splitlines()
    assert {"churn_2.md", "churn_2.html"} < {path.name for path in (tmp_path / "reports").rglob("*")}
    _, body, _ = made(directory, tmp_path / "cards")
    assert (tmp_path / "reports" / "churn_2.md").read_text().endswith(body)
    assert any(line.endswith("churn_2.md") for line in told)
