"""What the transitions of alerts in the topic must look like, whatever happened to the workers."""

from collections import Counter


def assert_alternating(alerts):
    """Each alert: firing, resolved, firing ... with ids that are never repeated."""
    ids = Counter(alert["id"] for alert in alerts)
    assert all(count == 1 for count in ids.values())
    states = {}
    for alert in alerts:
        data = alert["data"]
        assert states.get(data["fingerprint"], "resolved") != data["status"], alert
        states[data["fingerprint"]] = data["status"]
    return states
