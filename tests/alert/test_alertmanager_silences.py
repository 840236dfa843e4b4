"""Silences of the console and of Alertmanager: the same after one round, whatever was there, and people decide."""

import json
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.alert.alertmanager_silences import changes, decode, posted
from tidegauge.alert.operations import Silence

NOW = 1_790_000_000.0
MATCHERS = st.dictionaries(st.sampled_from(["alertname", "model", "segment"]), st.sampled_from(["", "a", "b"]), min_size=1)


class Alertmanager:
    """What the API does with silences, as far as the changes rely on it."""

    def __init__(self):
        self.silences = {}

    def take(self, posts, ended):
        for body in posts:
            name = body.get("id") or str(len(self.silences))
            assert name in self.silences or "id" not in body
            self.silences[name] = {**body, "id": name, "status": {"state": "active"}}
        for name in ended:
            self.silences[name]["status"] = {"state": "expired"}

    def listed(self):
        return decode(json.dumps(list(self.silences.values())).encode())

    def active(self):
        return [one for one in self.listed() if one.status.state == "active"]


def silence(name, matchers, ends=3600.0):
    return Silence(name, matchers, NOW - 10, NOW + ends, "me", NOW - 10, "because")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), MATCHERS, st.sampled_from([-5.0, 60.0, 3600.0])), max_size=12))
def test_after_each_round_alertmanager_has_what_stands_and_nothing_more_changes(steps):
    alertmanager, standing = Alertmanager(), {}
    alertmanager.take([posted(silence("x", {"model": "m"})) | {"comment": "by hand"}], [])
    for name, matchers, ends in steps:
        if name in standing and ends == 60.0:
            del standing[name]
            continue
        # The console gives each silence an id of its own, and only an end that has come ends it.
        name = f"{name}{len(alertmanager.silences)}" if name not in standing else name
        standing[name] = silence(name, matchers, ends)
        alertmanager.take(*changes(standing.values(), alertmanager.listed(), NOW))
        wanted = {n: s for n, s in standing.items() if s.ends_at > NOW}
        active = {one.mark: one for one in alertmanager.active()}
        assert len(active) == len(alertmanager.active())
        assert active.keys() == {None, *wanted}
        assert all(active[n].agrees_with(s) for n, s in wanted.items())
        assert changes(standing.values(), alertmanager.listed(), NOW) == ([], [])


def test_one_that_stands_twice_is_ended_once_and_one_ended_by_hand_stays_ended():
    alertmanager, one = Alertmanager(), silence("s", {"alertname": "auc"})
    alertmanager.take([posted(one), posted(one)], [])
    posts, ended = changes([one], alertmanager.listed(), NOW)
    assert (posts, ended) == ([], ["1"])
    alertmanager.take([], ["0", "1"])
    assert changes([one], alertmanager.listed(), NOW) == ([], [])


def test_a_silence_is_posted_with_matchers_times_author_and_its_id():
    assert posted(silence("7", {"alertname": "auc", "segment": ""})) == {
        "matchers": [
            {"name": "alertname", "value": "auc", "isRegex": False, "isEqual": True},
            {"name": "segment", "value": "", "isRegex": False, "isEqual": True},
        ],
        "startsAt": datetime.fromtimestamp(NOW - 10, UTC).isoformat().replace("+00:00", "Z"),
        "endsAt": datetime.fromtimestamp(NOW + 3600, UTC).isoformat().replace("+00:00", "Z"),
        "createdBy": "me",
        "comment": "because [tidegauge 7]",
    }  # fmt: skip


def test_two_of_a_cluster_that_see_the_same_two_end_the_same_one():
    one = posted(silence("s", {"alertname": "auc"}))
    listed = [{**one, "id": name, "status": {"state": "active"}} for name in ("b", "a")]
    for seen in (listed, listed[::-1]):
        assert changes([silence("s", {"alertname": "auc"})], decode(json.dumps(seen).encode()), NOW) == ([], ["b"])
