"""Reads the member ``on`` of a spec: what is done automatically when something is found."""

from __future__ import annotations

from collections.abc import Collection

from tidegauge.models.yaml_reader import Item
from tidegauge.spec import Actions


def actions(of: Item, alerts: Collection[str] | None) -> Actions:
    """The member ``on`` of a spec. ``alerts``: the names of the spec's own alerts; None if it has the default monitors."""
    given = of.members(Actions.__struct_fields__)
    rollout = given["rollout"].choice(("roll_back",)) if "rollout" in given else None
    return Actions(rollout, _hooks(given["retrain"], alerts) if "retrain" in given else {})


def _hooks(of: Item, alerts: Collection[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, item in of.members(alerts).items():
        url = item.text()
        if url is not None and not url.startswith(("http://", "https://")):
            item.wrong(f"{url!r} is no address of a hook; write one, as https://ci.example.com/hooks/retrain")
        elif url is not None:
            found[name] = url
    return found
