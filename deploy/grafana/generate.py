"""Grafana's dashboards as code: `python deploy/grafana/generate.py` builds ``dashboards/*.json`` from ``panels.yml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, VariableRefresh, VariableSort
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HERE = Path(__file__).parent
DIRECTORY = HERE / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
VERSIONS = 'model=~"$model", model_version=~"$model_version"'
CHOSEN = {
    "<versions>": VERSIONS,
    "<whole>": f'{VERSIONS}, window="$window", segment=""',
    "<parts>": f'{VERSIONS}, window="$window", segment!=""',
}
KINDS = {"timeseries": timeseries.Panel, "stat": stat.Panel, "table": table.Panel, "bargauge": bargauge.Panel}
WIDTH, HEIGHT = 12, 8


def read() -> dict[str, Any]:
    """The dashboards of ``panels.yml`` by name, their queries spelled out."""
    text = (HERE / "panels.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    for one in (one for of in found.values() for one in of["panels"]):
        for short, chosen in CHOSEN.items():
            one["queries"] = {legend: expression.replace(short, chosen) for legend, expression in one["queries"].items()}
    return found


def panel(of: dict[str, Any]) -> Any:
    """One panel. Kinds other than time series ask for one moment."""
    kind = of.get("kind", "timeseries")
    made = KINDS[kind]().title(of["title"]).description(of["text"]).datasource(SOURCE).span(WIDTH).height(HEIGHT)
    if kind != "table":
        made = made.unit(of["unit"])
    if kind == "timeseries":
        shown = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        made = made.legend(shown.show_legend(True)).tooltip(tooltip)
    for number, (legend, expression) in enumerate(of["queries"].items()):
        target = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        target = target.range() if kind == "timeseries" else target.instant()
        if kind == "table":
            target = target.format(PromQueryFormat.TABLE)
        made = made.with_target(target.interval(of["step"]) if "step" in of else target)
    return made


def variables() -> Iterator[Any]:
    """What a person chooses: models, versions, the length of windows."""
    for name, label, query, several in (
        ("model", "Model", "label_values(tidegauge_window_predictions, model)", True),
        ("model_version", "Version", 'label_values(tidegauge_window_predictions{model=~"$model"}, model_version)', True),
        ("window", "Window", 'label_values(tidegauge_window_predictions{model=~"$model"}, window)', False),
    ):
        made = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
        made = made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC).multi(several)
        yield made.include_all(True).all_value(".*") if several else made


def build(name: str, of: dict[str, Any]) -> str:
    """The dashboard's JSON."""
    others = dashboard.DashboardLink("Others").type(DashboardLinkType.DASHBOARDS).tags(["tidegauge"])
    made = (
        dashboard.Dashboard(f"tidegauge: {of['title']}")
        .uid(f"tidegauge-{name}")
        .tags(["tidegauge"])
        .timezone("browser")
        .refresh("30s")
        .time("now-24h", "now")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(others.as_dropdown(True).keep_time(True).include_vars(True))
    )
    if any("$model" in expression for one in of["panels"] for expression in one["queries"].values()):
        for variable in variables():
            made = made.with_variable(variable)
    for one in of["panels"]:
        made = made.with_panel(panel(one))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, of in read().items():
        (DIRECTORY / f"{name}.json").write_text(build(name, of))
