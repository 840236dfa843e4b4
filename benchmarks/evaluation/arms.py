"""Every monitor's verdicts on one scenario, as one array a method: which windows it fired in, and how often a feature did."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tidegauge_arm
from streams import Rows, Scenario, draw
from tidegauge.detect.detectors import Detector
from tidegauge.spec import DetectorSpec

DRIFT = ("feature-drift", "category-drift", "score-drift", "missing-values", "missing-drift", "positive-ratio")
QUALITY = ("roc-auc", "brier", "calibration", "label-drift")
ERROR_DETECTORS = ("adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w")
FEATURE_DETECTORS = ("adwin", "page_hinkley")
PSI_RULE = 0.2


@dataclass(frozen=True)
class Fired:
    """``windows`` (chosen) booleans; ``features``: how many of how many (window, feature) pairs, None where a method has none;
    ``scores``: family → (chosen) largest score over its threshold, for methods whose threshold can be moved."""

    windows: NDArray[np.bool_]
    features: tuple[int, int] | None = None
    scores: dict[str, NDArray[np.float64]] | None = None

    @classmethod
    def together(cls, parts: list[Fired]) -> Fired:
        """The same method on several streams, one after the other."""
        features = [of.features for of in parts if of.features is not None]
        scores = [of.scores for of in parts if of.scores is not None]
        return cls(
            np.concatenate([of.windows for of in parts]),
            (sum(of[0] for of in features), sum(of[1] for of in features)) if features else None,
            {name: np.concatenate([of[name] for of in scores]) for name in scores[0]} if scores else None,
        )


class Peers:
    """Evidently and NannyML, in their own process. It works while this one does: ``ask`` first, ``answer`` later."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._directory = directory
        script = str(Path(__file__).with_name("peers.py"))
        quiet = os.environ | {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
        self._process = subprocess.Popen(
            [str(python), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet
        )
        self.versions = self._line().removeprefix("ready ")

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peers' process ended with {self._process.wait()}; its error is above")
        return line.strip()

    def ask(self, scenario: Scenario, reference: Rows, watched: Rows, chosen: NDArray[np.intp], check: bool) -> None:
        arrays = {
            f"{part}_{name}": getattr(rows, name)
            for part, rows in (("reference", reference), ("watched", watched))
            for name in ("numbers", "categories", "score", "label")
        }
        file = self._directory / f"{scenario.name}.npz"
        np.savez(file, rows=scenario.rows, labels=scenario.labels, chosen=chosen, check=check, **arrays)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{file}\n")
        self._process.stdin.flush()

    def answer(self, chosen: NDArray[np.intp]) -> dict[str, Fired]:
        file = Path(self._line())
        verdicts = file.with_suffix(".verdicts.npz")
        held = {name: array for name, array in np.load(verdicts).items()}
        file.unlink()
        verdicts.unlink()
        out = {}
        for peer, pick in (("evidently", slice(None)), ("nannyml", chosen)):
            families = {"drift": held[peer], "missing": held[f"{peer}_missing"], "quality": held[f"{peer}_quality"]}
            scores = {f: array[pick].max(axis=1) for f, array in families.items() if array.shape[1]}
            drift = held[peer][pick]
            out[peer] = Fired(np.any([of > 1 for of in scores.values()], axis=0), (int((drift > 1).sum()), drift.size), scores)
        share = (held["evidently"] > 1).mean(axis=1)
        out["evidently_dataset"] = Fired(share >= 0.5)
        return out

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def budget(scenario: Scenario) -> tuple[DetectorSpec, ...]:
    """ADWIN on the errors, allowed to be wrong once in a hundred windows."""
    if not scenario.labels:
        return ()
    against = "hour_of_week" if scenario.family == "weekly" else None
    return (DetectorSpec("budget", "error", "adwin", false_alarms=1 / (100 * scenario.rows), against=against),)


def evaluate(
    scenario: Scenario, peers: Peers, directory: Path, most: int, check: bool
) -> tuple[dict[str, Fired], NDArray[np.intp]]:
    """All methods' verdicts on the chosen windows (at most ``most``, spread evenly; the drifting ones where there are any)."""
    reference, watched = draw(scenario)
    chosen = np.flatnonzero(scenario.drifting) if scenario.drift else np.arange(scenario.windows)
    if not scenario.drift and len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]
    peers.ask(scenario, reference, watched, chosen, check)
    out = _tidegauge(scenario, reference, watched, directory) | _river(scenario, watched)
    out["always"] = Fired(np.ones(scenario.windows, bool))
    out["never"] = Fired(np.zeros(scenario.windows, bool))
    whole = np.arange(scenario.windows) if not scenario.drift else chosen
    picked = {name: Fired(of.windows[whole], of.features, _pick(of, whole)) for name, of in out.items()}
    return picked | peers.answer(chosen)


def _pick(fired: Fired, places: NDArray[np.intp]) -> dict[str, NDArray[np.float64]] | None:
    return None if fired.scores is None else {name: scores[places] for name, scores in fired.scores.items()}


def _tidegauge(scenario: Scenario, reference: Rows, watched: Rows, directory: Path) -> dict[str, Fired]:
    spec = tidegauge_arm.spec_of(scenario, detectors=budget(scenario))
    baseline = tidegauge_arm.build_baseline(spec, reference, scenario.labels, directory / "reference.jsonl")
    said = tidegauge_arm.run(scenario, spec, baseline, watched)
    windows = scenario.windows
    monitors = tuple({name for name, _ in said.judged})
    features = sum(len(paths) for paths in said.breached.get("feature-drift", {}).values())
    judged = sum(count for (name, _), count in said.judged.items() if name == "feature-drift")
    largest = np.array([max(said.psi.get(w, [0.0]), default=0.0) for w in range(windows)])
    out = {
        "tidegauge": Fired(said.fired(monitors, windows), (features, max(judged, 1))),
        "tidegauge_drift": Fired(said.fired(DRIFT, windows)),
        "psi": Fired(
            largest > PSI_RULE,
            (sum(value > PSI_RULE for of in said.psi.values() for value in of), sum(map(len, said.psi.values()))),
            {"drift": largest / PSI_RULE},
        ),
    }
    if scenario.labels:
        out["tidegauge_quality"] = Fired(said.fired(QUALITY, windows))
        out["tidegauge_budget"] = _detections(np.array(said.detections.get("budget", [])), scenario, watched)
    if scenario.family == "weekly":
        seasonal = tidegauge_arm.run(scenario, tidegauge_arm.spec_of(scenario, seasonal=True), None, watched)
        judged = sum(count for (name, _), count in seasonal.judged.items() if name == "feature-drift")
        features = sum(len(paths) for paths in seasonal.breached.get("feature-drift", {}).values())
        out["tidegauge_previous"] = Fired(
            seasonal.fired(tuple({n for n, _ in seasonal.judged}), windows), (features, max(judged, 1))
        )
    return out


def _detections(times: NDArray[np.float64], scenario: Scenario, watched: Rows) -> Fired:
    fired = np.zeros(scenario.windows, bool)
    fired[np.searchsorted(watched.ts, times) // scenario.rows] = True
    return Fired(fired)


def _river(scenario: Scenario, watched: Rows) -> dict[str, Fired]:
    """River's detectors with their defaults: on each number, and on the errors. KSWIN is left out: 200 µs a value."""
    out = {}
    windows, rows = scenario.windows, scenario.rows
    for algorithm in FEATURE_DETECTORS:
        fired = np.zeros((windows, scenario.features), bool)
        for column in range(scenario.features):
            known = np.flatnonzero(~np.isnan(watched.numbers[:, column]))
            places = Detector(DetectorSpec("d", "score", algorithm)).update(watched.numbers[known, column])
            fired[known[places] // rows, column] = True
        out[f"river_{algorithm}_features"] = Fired(fired.any(axis=1), (int(fired.sum()), fired.size))
    if scenario.labels:
        errors = ((watched.score >= 0.5) != watched.label).astype(float)
        for algorithm in ERROR_DETECTORS:
            fired = np.zeros(windows, bool)
            fired[np.array(Detector(DetectorSpec("d", "error", algorithm)).update(errors), int) // rows] = True
            out[f"river_{algorithm}_error"] = Fired(fired)
    return out
