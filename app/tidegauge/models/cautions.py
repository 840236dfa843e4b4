"""Warnings about valid specs that may not do what their author expects."""

from __future__ import annotations

from tidegauge.spec import ModelSpec

OF_INDEPENDENT_ROWS = frozenset(("p_value", "ks_p_value", "tail_p_value"))
"""The p-values of distances whose tests assume independent rows."""


def cautions(spec: ModelSpec) -> list[str]:
    """The warnings about a spec, one sentence each."""
    return [
        f"{spec.model}: the monitor {monitor.name} judges {monitor.metric}, which takes requests as independent; where they "
        "come in clusters or seasons it is far too small. shift_p_value and mix_p_value allow for that, as above: auto on "
        "the distance does"
        for monitor in spec.monitors or ()
        if monitor.metric.startswith(("data.", "prediction.", "attributions.", "label_mix."))
        and monitor.metric.rpartition(".")[2] in OF_INDEPENDENT_ROWS
    ]
