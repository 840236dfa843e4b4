"""Incidents: which alerts are one, what is named as the cause, and that each change is told once, whoever restarts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.engine.stage import MemoryStore
from tidegauge.incident.causal_graph import CHAIN, LABEL_FEED, ORDER, SYSTEM, follows
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.judge.wording import MOST
from tidegauge.metrics.record import iso

DAY = 86400.0


def alert(name: str, metric: str, day: float, *, feature: str = "", version: str = "m:1", **members: Any) -> dict[str, Any]:
    """An alert's data, of a window of one day."""
    start = day * DAY
    ended = members.pop("ended", None)
    labels = {"alertname": name, "model": "m", "model_version": version, "segment": members.pop("segment", "")}
    named = members.pop("named", [])
    return {
        "status": "firing" if ended is None else "resolved",
        "fingerprint": f"{name}/{feature}/{version}/{labels['segment']}",
        "severity": "critical",
        "kind": "monitor",
        "labels": labels | ({"feature": feature} if feature else {}),
        "annotations": {"summary": "…", "runbook_url": f"playbooks/{name}.md"},
        "starts_at": iso(start),
        "ends_at": None if ended is None else iso(ended * DAY),
        "metric": metric,
        "value": 0.4,
        "sample_size": 1000,
        "baseline": None,
        "window": {"length": "1d", "start": iso(start), "end": iso(start + DAY), "revision": 1},
        "evidence": {"features": [{"feature": name} for name in named]},
    } | members


def missing(feature: str, day: float, **members: Any) -> dict[str, Any]:
    return alert("missing-values", f"data.features.{feature}.missing_ratio", day, feature=feature, **members)


def drift(feature: str, day: float, **members: Any) -> dict[str, Any]:
    return alert("feature-drift", f"data.features.{feature}.psi", day, feature=feature, **members)


def auc(day: float, **members: Any) -> dict[str, Any]:
    return alert("auc", "performance.roc_auc", day, **members)


def observed(*alerts: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """The incident of each alert, and what was published."""
    book = IncidentBook(MemoryStore())
    ids, said = [], []
    for number, data in enumerate(alerts):
        one, outputs = book.observe(data, number * DAY)
        ids.append(one)
        said += [json.loads(output.value or b"")["data"] for output in outputs]
    return ids, said


def test_a_feed_that_ends_is_one_incident_named_by_what_is_missing():
    broken = alert("missing-feature", "data.missing_features", 10, named=["a", "b"], value=2.0)
    ids, said = observed(missing("a", 10), missing("b", 10), broken, drift("a", 11), auc(12))
    assert len(set(ids)) == 1
    assert said[-1]["cause"]["alertname"] == "missing-feature"
    assert said[-1]["title"] == "`a` and `b` are missing in every request since 11 Jan 1970"
    assert said[-1]["concerns"] == ["schema", "values", "feature drift", "performance"]
    assert said[-1]["runbook_url"] == "playbooks/missing-feature.md"


def test_other_features_later_are_another_incident():
    ids, _ = observed(missing("a", 10), drift("b", 12), missing("b", 20))
    assert len(set(ids)) == 3


def test_inputs_are_the_same_for_all_versions_and_what_a_version_makes_of_them_is_its_own():
    ids, _ = observed(drift("a", 10), drift("a", 30, version="m:2"), auc(30, version="m:2"), auc(31))
    assert ids[0] == ids[1], "the same drift, seen in another version too"
    assert ids[2] not in ids[:2], "which has been there without costing anything"
    assert ids[3] != ids[2]
    ids, _ = observed(auc(10), auc(10, version="m:2"))
    assert len(set(ids)) == 1, "what hits all versions at once"


def test_few_missing_values_do_not_turn_all_predictions_around():
    drop = {"value": 0.44, "baseline": 0.68}
    few = {"evidence": {"features": [], "faulty_values": {"a": 0.07}}}
    many = {"evidence": {"features": [], "faulty_values": {"a": 0.5}}}
    assert len(set(observed(missing("a", 10), auc(10, **drop, **few))[0])) == 2
    assert len(set(observed(missing("a", 10), auc(10, **drop, **many))[0])) == 1
    assert len(set(observed(missing("a", 10), auc(12, **drop, **few))[0])) == 2, "of its own window"


def test_a_drop_follows_from_drift_as_far_as_the_shift_of_the_inputs_explains_it():
    for share, incidents in ((0.1, 2), (0.9, 1)):
        explained = {"evidence": {"features": [], "explained": {"share": share}}}
        ids, _ = observed(drift("a", 10), auc(11, value=0.6, baseline=0.7, **explained))
        assert len(set(ids)) == incidents


def test_labels_whose_mix_has_moved_do_not_hold_every_drop_of_performance():
    ids, _ = observed(alert("label-drift", "label_mix.psi", 10), auc(20))
    assert len(set(ids)) == 2
    ids, _ = observed(alert("brier", "performance.brier", 10), auc(20))
    assert len(set(ids)) == 1, "while the Brier score is bad, a drop of the AUC is the same trouble"


def test_nothing_goes_on_with_a_verdict_that_was_undone():
    undone = {"annotations": {"summary": "…", "resolution": "restated"}}
    ids, _ = observed(auc(10), auc(10, ended=10, **undone), alert("brier", "performance.brier", 11))
    assert ids[0] == ids[1] != ids[2]


def test_a_cause_that_begins_after_its_consequence_is_none():
    ids, _ = observed(auc(10), missing("a", 12))
    assert len(set(ids)) == 2


def test_trouble_that_goes_on_is_the_same_incident_and_trouble_that_comes_back_later_is_not():
    ids, _ = observed(auc(10), auc(10, ended=12), auc(13), auc(13, ended=14), auc(20))
    assert ids[0] == ids[1] == ids[2] == ids[3] != ids[4]


def test_one_thing_after_another_is_not_one_incident_for_ever():
    ids, _ = observed(*(drift(f"f{day}", day) for day in range(10, 40)))
    assert len(set(ids)) >= 5


def test_system_alerts_and_data_alerts_are_different_incidents():
    ids, _ = observed(missing("a", 10), alert("latency", "system.latency_ms.p95", 10))
    assert len(set(ids)) == 2


def test_an_incident_opens_changes_resolves_and_is_taken_back_by_a_restatement():
    restated = {"annotations": {"summary": "…", "resolution": "restated"}}
    _, said = observed(auc(10), drift("a", 10), drift("a", 10, ended=11, **restated), auc(10, ended=11, **restated))
    assert [data["change"] for data in said] == ["opened", "changed", "changed", "resolved"]
    assert [data["status"] for data in said] == ["open", "open", "open", "resolved"]
    assert said[-1]["resolution"] == "restated"
    assert said[-1]["ends_at"] == iso(11 * DAY)
    _, said = observed(auc(10), auc(10, ended=11))
    assert "resolution" not in said[-1]


def test_the_causal_order_has_no_circle():
    for one in ORDER:
        assert not follows(one, one)
        for other in ORDER:
            assert not (follows(one, other) and follows(other, one))
    assert follows(LABEL_FEED, "performance")
    assert not any(follows(SYSTEM, other) or follows(other, SYSTEM) for other in CHAIN)


KINDS = st.sampled_from(
    [
        *(("missing-values", f"data.features.{f}.missing_ratio", f) for f in "ab"),
        *(("feature-drift", f"data.features.{f}.psi", f) for f in "ab"),
        ("score-drift", "prediction.psi", ""), ("auc", "performance.roc_auc", ""), ("revenue", "business.revenue.mean", ""),
        ("label-feed", "label_feed.coverage_gap", ""), ("errors", "system.error_ratio", ""),
        ("rollout", "performance.log_loss", ""), ("shift", "error", ""),
    ]
)  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.tuples(KINDS, st.integers(0, 12), st.booleans(), st.sampled_from(["m:1", "m:2"])), max_size=25), st.data())
def test_whatever_comes_each_change_is_told_once_and_a_restart_changes_nothing(
    steps: list[tuple[tuple[str, str, str], int, bool, str]], data: st.DataObject
) -> None:
    alerts: list[dict[str, Any]] = []
    firing: set[str] = set()
    for (name, metric, feature), day, severe, version in steps:
        one = alert(name, metric, day, feature=feature, version=version, severity="critical" if severe else "warning")
        if one["fingerprint"] in firing:
            firing.discard(one["fingerprint"])
            alerts.append(one | {"status": "resolved", "ends_at": iso((day + 1) * DAY)})
        else:
            firing.add(one["fingerprint"])
            alerts.append(one)
    restarts = data.draw(st.sets(st.integers(0, len(alerts))))
    store, other = MemoryStore(), MemoryStore()
    book, restarted = IncidentBook(store), IncidentBook(other)
    ids, open_now = set(), {}
    for number, one in enumerate(alerts):
        if number in restarts:
            restarted = IncidentBook(other)
        found, outputs = book.observe(one, number * DAY)
        assert restarted.observe(one, number * DAY) == (found, outputs)
        for output in outputs:
            event = json.loads(output.value or b"")
            assert event["id"] not in ids
            ids.add(event["id"])
            said = event["data"]
            assert len(said["title"]) <= MOST
            assert "None" not in said["title"]
            assert "nan" not in said["title"]
            open_now[said["incident"]] = {of["fingerprint"] for of in said["alerts"] if of["status"] == "firing"}
            assert (said["status"] == "open") == bool(open_now[said["incident"]])
            assert said["cause"]["fingerprint"] in {of["fingerprint"] for of in said["alerts"]}
    # Every alert that fires is in an incident that is open, and in one only.
    assert sorted(mark for marks in open_now.values() for mark in marks) == sorted(firing)


@pytest.mark.parametrize("metric", ["data.features.*.missing_ratio", "prediction.psi", "label_feed.coverage_gap", "labels"])
def test_a_title_fits_however_long_names_are(metric: str) -> None:
    long = [f"{'very_' * 20}long_{number}" for number in range(30)]
    alerts = [alert("x", metric.replace("*", name), 10, feature=name if "*" in metric else "", version=name) for name in long]
    _, said = observed(*alerts)
    assert all(len(data["title"]) <= MOST for data in said)
