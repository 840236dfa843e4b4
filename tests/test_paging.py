"""From alert events to what Alertmanager is told, for any order of events and restarts."""

import json

from hypothesis import given
from hypothesis import strategies as st

from alert_events import alert_event
from tidegauge.paging import RESOLVED_SECONDS, Book, decode, posted, requests

NOW = 1_759_100_000.0


def event(*arguments, **more):
    return decode(alert_event(*arguments, **more)[1])


class People:
    """What Alertmanager tells people of label sets: once when one begins to fire, once when it ends. ``forget``: it restarts,
    knows whom it has told, and nothing else."""

    def __init__(self):
        self.told, self.pages = {}, []

    def hear(self, notice):
        firing = notice.ends_at is None
        if firing != self.told.get(notice.key, False):
            self.told[notice.key] = firing
            self.pages.append((notice.labels["alertname"], notice.labels["severity"], firing))


STEP = st.one_of(
    st.tuples(st.just("move"), st.sampled_from("abc"), st.sampled_from(["warning", "critical"])), st.just(("restart",)),
    st.just(("refresh",)),
)  # fmt: skip


@given(st.lists(STEP, max_size=40))
def test_every_transition_is_told_once_whatever_restarts(steps):
    book, people, history, state, expected = Book(), People(), [], {}, []
    for step in steps:
        if step[0] == "restart":
            book = Book()
            for past in history:
                book.take(past, NOW)
        if step[0] != "move":
            for notice in book.refresh(NOW):
                people.hear(notice)
            continue
        _, name, severity = step
        was = state.pop(name, None)
        if was == severity:
            happened = event(name, "resolved", 1, severity=severity)
            expected.append((name, severity, False))
        else:
            happened = event(name, "firing", 1, severity=severity)
            expected.append((name, severity, True))
            state[name] = severity
            if was is not None:
                expected.append((name, was, False))
        history.append(happened)
        for notice in book.take(happened, NOW):
            people.hear(notice)
    assert people.pages == expected
    assert {notice.labels["alertname"] for notice in book.firing.values()} == state.keys()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_requests_keep_the_order_and_repeat_no_label_set(steps):
    book, notices = Book(), []
    for name, firing in steps:
        notices += book.take(event(name, "firing" if firing else "resolved", 1), NOW)
    made = list(requests(notices))
    assert [notice for request in made for notice in request] == notices
    assert all(len({notice.key for notice in request}) == len(request) for request in made)


def test_what_resolved_is_said_for_a_while():
    book = Book()
    book.take(event("auc", "firing", 1), NOW)
    book.take(event("auc", "resolved", 2), NOW + 10)
    (notice,) = book.refresh(NOW + 10 + RESOLVED_SECONDS)
    assert notice.ends_at == NOW + 10
    assert book.refresh(NOW + 11 + RESOLVED_SECONDS) == []


def test_what_is_posted():
    (notice,) = Book().take(event("auc", "firing", 1, starts_at="2999-01-01T00:00:00Z"), NOW)
    alert = posted(notice, NOW, 240.0, None)
    assert alert["startsAt"] == "2025-09-28T22:53:20Z"
    assert alert["endsAt"] == "2025-09-28T22:57:20Z"
    assert "generatorURL" not in alert
    assert not any(character.isdigit() for name in ("alertname", "severity") for character in alert["labels"][name])


def test_labels_hold_no_values_so_that_they_are_the_same_again():
    one, two = (event("auc", "firing", 1, value=value, sample_size=int(value * 10)) for value in (0.81, 0.7))
    assert Book().take(one, NOW)[0].labels == Book().take(two, NOW)[0].labels


def test_the_whole_model_has_no_segment_label():
    labels = {"alertname": "a", "model": "m", "model_version": "m:1", "segment": ""}
    (notice,) = Book().take(event("a", "firing", 1, labels=labels), NOW)
    assert notice.labels == {"alertname": "a", "model": "m", "model_version": "m:1", "severity": "critical"}


def test_evidence_of_an_unknown_shape_costs_no_alert():
    odd = {"segments": [{"odd": 1}], "features": 3, "new": ["x", {"y": 1}], "empty": []}
    (notice,) = Book().take(event("a", "firing", 1, evidence=odd, window={"length": "1d"}, value="high"), NOW)
    texts = notice.annotations
    assert json.loads(texts["segments"]) == [{"odd": 1}]
    assert (texts["features"], texts["new"], texts["value"]) == ("3", 'x\n{"y":1}', "high (baseline 0.9)")
    assert "empty" not in texts
