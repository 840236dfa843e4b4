"""An alert on a version or a segment that gets no more requests ends; otherwise it would be firing for ever."""

import numpy as np
import pandas as pd
import pytest

import tidegauge
from support.events import START
from tidegauge.alert.quiet_versions import QUIET_SECONDS

HOUR, DAY = 3600.0, 86400.0
SPEC = {
    "model": "m", "windows": ["1h"], "segments": ["region"],
    "monitors": [{
        "name": "missing", "metric": "data.features.x.missing_ratio", "window": "1h", "above": 0.3, "min_count": 10,
        "segments": True,
    }],
}  # fmt: skip


def requests(version, days, missing, region="eu"):
    """Thirty requests an hour from the first of ``days`` up to the second."""
    ts = np.arange(days[0] * DAY, days[1] * DAY, HOUR / 30)
    return pd.DataFrame(
        {
            "request_id": [f"{version}-{region}-{at}" for at in ts],
            "ts": START + ts,
            "model_version": version,
            "segments.region": region,
            "prediction": 1,
            "x": None if missing else 1.0,
        }
    )


def transitions(*parts):
    """(version, segment, status, day of the event's time, day of the end) of the alerts, in order."""
    run = tidegauge.replay(pd.concat(parts), spec=SPEC)
    return [
        (alert.version, alert.segment, alert.status, (alert.time.timestamp() - START) // DAY,
         None if alert.status == "firing" else (alert.end.timestamp() - START) / DAY)
        for alert in run.alerts.sort_values(["time", "version", "segment"]).itertuples()
    ]  # fmt: skip


def test_the_alerts_of_a_replaced_version_end_after_a_day_without_a_request():
    assert QUIET_SECONDS == DAY
    assert transitions(requests("m:1", (0, 2), missing=True), requests("m:2", (2, 5), missing=False)) == [
        ("m:1", "", "firing", 0, None), ("m:1", "region=eu", "firing", 0, None),
        ("m:1", "", "resolved", 3, 2.0), ("m:1", "region=eu", "resolved", 3, 2.0),
    ]  # fmt: skip


def test_those_of_a_segment_end_while_its_version_goes_on():
    found = transitions(requests("m:1", (0, 1), missing=True, region="us"), requests("m:1", (0, 4), missing=False))
    assert ("m:1", "region=us", "resolved", 2, 1.0) in found
    assert found[-1][:3] == ("m:1", "region=us", "resolved")


@pytest.mark.parametrize("further", [(), (requests("m:2", (2, 2.9), missing=False),)])
def test_alerts_stay_while_the_model_is_quiet_or_less_than_a_day_has_passed(further):
    found = transitions(requests("m:1", (0, 2), missing=True), *further)
    assert [status for *_, status, _, _ in found] == ["firing", "firing"]


def test_alerts_fire_again_when_the_version_is_back_with_its_fault():
    found = transitions(
        requests("m:1", (0, 1), missing=True), requests("m:2", (0, 5), missing=False), requests("m:1", (4, 5), missing=True)
    )
    of_version = [(status, day) for version, segment, status, day, _ in found if version == "m:1" and not segment]
    assert of_version == [("firing", 0), ("resolved", 2), ("firing", 4)]
