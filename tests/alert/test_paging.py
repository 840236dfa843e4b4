"""From alert events to what Alertmanager is told, for any order of events and restarts."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from support.alert_events import alert_event
from tidegauge.alert.operations import Operations, Silence, encode
from tidegauge.alert.paging import RESOLVED_SECONDS, PagedAlerts, decode, posted, requests

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
    paged, people, history, state, expected = PagedAlerts(Operations().silenced_since), People(), [], {}, []
    for step in steps:
        if step[0] == "restart":
            paged = PagedAlerts(Operations().silenced_since)
            for past in history:
                paged.take(past, NOW)
        if step[0] != "move":
            for notice in paged.refresh(NOW):
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
        for notice in paged.take(happened, NOW):
            people.hear(notice)
    assert people.pages == expected
    assert {notice.labels["alertname"] for notice in paged.firing.values()} == state.keys()


class Muted(People):
    """With silences, as Alertmanager has them: it keeps to itself what it hears under one, and forgets a resolve."""

    def __init__(self, operations):
        super().__init__()
        self.operations, self.now = operations, NOW

    def hear(self, notice):
        if self.operations.silenced(notice.labels, self.now) is None:
            super().hear(notice)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("move"), st.sampled_from("ab")), st.tuples(st.just("silence"), st.sampled_from("ab")),
            st.tuples(st.just("end"), st.sampled_from("ab")), st.just(("restart",)),
        ),
        max_size=30,
    )
)  # fmt: skip
@example([("move", "a"), ("silence", "a"), ("move", "a")])
def test_no_resolve_is_lost_under_a_silence_and_nobody_is_told_under_one(steps):
    """However long it lasts: an hour passes between two steps, in which what fires and what resolved is said every minute."""
    operations = Operations()
    paged, people, history, state = PagedAlerts(operations.silenced_since), Muted(operations), [], set()
    for number, step in enumerate(steps):
        name = step[1] if len(step) > 1 else ""
        quiet = {n for n in "ab" if operations.silenced({"alertname": n}, people.now)}
        told = len(people.pages)
        if step[0] == "silence":
            # Of two and a half hours: it ends between two steps.
            made = Silence(f"{name}{number}", {"alertname": name}, people.now, people.now + 9000.0, "me", people.now)
            operations.apply(made.key, encode(made))
        elif step[0] == "end":
            for silence in [s for s in operations.silences.values() if s.matchers == {"alertname": name}]:
                operations.apply(silence.key, None)
        elif step[0] == "restart":
            paged = PagedAlerts(operations.silenced_since)
            for past, at in history:
                paged.take(past, at)
        else:
            happened = event(name, "resolved" if name in state else "firing", 1)
            state ^= {name}
            history.append((happened, people.now))
            for notice in paged.take(happened, people.now):
                people.hear(notice)
            assert not {page[0] for page in people.pages[told:]} & quiet
        for _ in range(60):
            people.now += 60.0
            for notice in paged.refresh(people.now):
                people.hear(notice)
    for _ in range(151):
        people.now += 60.0
        for notice in paged.refresh(people.now):
            people.hear(notice)
    # Every page is followed by its end, and who was last told that it fires is right.
    for name in "ab":
        pages = [firing for told, _, firing in people.pages if told == name]
        assert pages == [index % 2 == 0 for index in range(len(pages))]
        assert (len(pages) % 2 == 1) == (name in state)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_requests_keep_the_order_and_repeat_no_label_set(steps):
    paged, notices = PagedAlerts(Operations().silenced_since), []
    for name, firing in steps:
        notices += paged.take(event(name, "firing" if firing else "resolved", 1), NOW)
    made = list(requests(notices))
    assert [notice for request in made for notice in request] == notices
    assert all(len({notice.key for notice in request}) == len(request) for request in made)


def test_what_resolved_is_said_for_a_while():
    paged = PagedAlerts(Operations().silenced_since)
    paged.take(event("auc", "firing", 1), NOW)
    paged.take(event("auc", "resolved", 2), NOW + 10)
    (notice,) = paged.refresh(NOW + 10 + RESOLVED_SECONDS)
    assert notice.ends_at == NOW + 10
    assert paged.refresh(NOW + 11 + RESOLVED_SECONDS) == []


def test_a_posted_alert_has_its_labels_annotations_and_end():
    (notice,) = PagedAlerts(Operations().silenced_since).take(event("auc", "firing", 1, starts_at="2999-01-01T00:00:00Z"), NOW)
    alert = posted(notice, NOW, 240.0, None)
    assert alert["startsAt"] == "2025-09-28T22:53:20Z"
    assert alert["endsAt"] == "2025-09-28T22:57:20Z"
    assert "generatorURL" not in alert
    assert not any(character.isdigit() for name in ("alertname", "severity") for character in alert["labels"][name])


def test_labels_hold_no_values_so_that_they_are_the_same_again():
    one, two = (event("auc", "firing", 1, value=value, sample_size=int(value * 10)) for value in (0.81, 0.7))
    assert (
        PagedAlerts(Operations().silenced_since).take(one, NOW)[0].labels
        == PagedAlerts(Operations().silenced_since).take(two, NOW)[0].labels
    )


def test_the_whole_model_has_no_segment_label():
    labels = {"alertname": "a", "model": "m", "model_version": "m:1", "segment": ""}
    (notice,) = PagedAlerts(Operations().silenced_since).take(event("a", "firing", 1, labels=labels), NOW)
    assert notice.labels == {"alertname": "a", "model": "m", "model_version": "m:1", "severity": "critical"}


def test_evidence_of_an_unknown_shape_costs_no_alert():
    odd = {"segments": [{"odd": 1}], "features": 3, "new": ["x", {"y": 1}], "empty": []}
    (notice,) = PagedAlerts(Operations().silenced_since).take(
        event("a", "firing", 1, evidence=odd, window={"length": "1d"}, value="high"), NOW
    )
    texts = notice.annotations
    assert json.loads(texts["segments"]) == [{"odd": 1}]
    assert (texts["features"], texts["new"], texts["value"]) == ("3", 'x\n{"y":1}', "high (baseline 0.9)")
    assert "empty" not in texts
