"""Results to the tables and plots of ``docs/evaluation.md``: what stands between its marks is written anew."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl

from tables import ROOT, fill, share, table, wilson

METHODS = {
    "tidegauge": "tidegauge, all default monitors",
    "tidegauge_drift": "– its drift monitors alone",
    "tidegauge_quality": "– its performance monitors alone",
    "tidegauge_previous": "tidegauge, `previous: 7d`",
    "tidegauge_budget": "tidegauge, ADWIN on errors, 1 per 100 windows",
    "evidently": "Evidently, any test fails",
    "evidently_dataset": "Evidently, half of the columns drift",
    "nannyml": "NannyML, any alert",
    "psi": "PSI above 0.2, any feature",
    "river_adwin_features": "River ADWIN on each feature",
    "river_page_hinkley_features": "River Page-Hinkley on each feature",
    "river_adwin_error": "River ADWIN on errors",
    "river_page_hinkley_error": "River Page-Hinkley on errors",
    "river_ddm_error": "River DDM on errors",
    "river_eddm_error": "River EDDM on errors",
    "river_hddm_a_error": "River HDDM-A on errors",
    "river_hddm_w_error": "River HDDM-W on errors",
    "always": "always fires",
    "never": "never fires",
}
EACH_FAMILY = ("evidently_families", "nannyml_families")
LEVELLED = ("tidegauge", "evidently_levelled", "nannyml_levelled", "psi_levelled")
FAMILIES = ("independent", "autocorrelated", "weekly")
PLOTTED = ("tidegauge", "evidently", "nannyml", "psi", "river_adwin_features")
COLOURS = dict(zip(PLOTTED, ("#0b6e99", "#d1495b", "#edae49", "#7a7a7a", "#5f9e6e"), strict=True))


def name_of(method: str) -> str:
    base, _, how = method.rpartition("_")
    words = {"levelled": ", levelled", "families": ", 1 % in each family"}.get(how)
    return METHODS[method] if words is None else METHODS[base].partition(",")[0].partition(" above")[0] + words


def false_alarms(results: dict[str, Any], family: str, member: str) -> str:
    streams = [of for of in results["null"] if of["family"] == family]
    head = ["", *(f"{of['features']} features × {of['rows']:,} rows" for of in streams)]
    rows = []
    for method, name in METHODS.items():
        held = [of["methods"].get(method, {}).get(member) for of in streams]
        if any(held) and not (member == "features" and method in ("always", "never")):
            rows.append([name, *map(share, held)])
    return table(head, rows)


def columns(results: dict[str, Any]) -> list[str]:
    return [f"{of['kind']} {of['size']:g}" for of in results["drift"]]


def recall(results: dict[str, Any], methods: tuple[str, ...], level: dict[str, str]) -> str:
    rows = []
    for method in methods:
        held = [of["methods"].get(method) for of in results["drift"]]
        if any(held):
            shares = [share(of and of["windows"], interval=False) for of in held]
            rows.append([name_of(method), level[method], *shares])
    return table(["", "false alarms", *columns(results)], rows)


def delay(results: dict[str, Any], methods: tuple[str, ...]) -> str:
    rows = []
    for method in methods:
        cells = []
        for of in results["drift"]:
            held = of["methods"].get(method)
            if held is None:
                cells.append("–")
            else:
                found, episodes = held["episode"]
                cells.append(f"{held['delay']:.1f} ({found}/{episodes})" if held["delay"] else f"– (0/{episodes})")
        rows.append([name_of(method), *cells])
    return table(["", *columns(results)], rows)


def behind(results: dict[str, Any]) -> str:
    """Where a levelled method finds more drifting windows than tidegauge, and whether that can be chance."""
    lines = []
    for of, column in zip(results["drift"], columns(results), strict=True):
        own, total = of["methods"]["tidegauge"]["windows"]
        for method in LEVELLED[1:]:
            count, _ = of["methods"][method]["windows"]
            if count > own:
                gap = (count - own) / total
                error = math.sqrt((count * (total - count) + own * (total - own)) / total**3)
                sure = "" if gap > 1.96 * error else " (within chance)"
                lines.append(
                    f"* {column}: {name_of(method)} {100 * count / total:.0f} %, tidegauge {100 * own / total:.0f} %{sure}"
                )
    return "\n".join(lines) or "Nowhere."


def tables(results: dict[str, Any]) -> dict[str, str]:
    first = results["null"][0]["methods"]
    level = {method: share(of["windows"], interval=False) for method, of in (first | results["levels"]).items()}
    out = {f"windows-{family}": false_alarms(results, family, "windows") for family in FAMILIES}
    out |= {f"features-{family}": false_alarms(results, family, "features") for family in FAMILIES}
    out["recall"] = recall(results, tuple(METHODS), level)
    out["levelled"] = recall(results, (*LEVELLED, *EACH_FAMILY), level)
    out["delay"] = delay(results, (*LEVELLED, "tidegauge_budget", "river_adwin_error", "river_adwin_features"))
    out["behind"] = behind(results)
    minutes = results["seconds"] / 60
    out["run"] = f"{results['peers']}; one run of {minutes:.0f} minutes." + (" A quick look." if results["quick"] else "")
    return out


def plot_false_alarms(results: dict[str, Any], file: Path) -> None:
    from matplotlib import pyplot as plt

    streams = results["null"]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for offset, method in enumerate(PLOTTED):
        for place, of in enumerate(streams):
            count, total = of["methods"][method]["windows"]
            low, high = wilson(count, total)
            x = place + (offset - 2) * 0.14
            axes.plot([x, x], [max(low, 2e-3), high], color=COLOURS[method], linewidth=1)
            label = None if place else METHODS[method]
            axes.plot(x, max(count / total, 2e-3), "o", color=COLOURS[method], markersize=4, label=label)
    axes.axhline(results["level"], color="black", linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.set_yticks([0.002, 0.01, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
    axes.set_xticks(range(len(streams)), [f"{of['family']}\n{of['features']} × {of['rows']:,}" for of in streams], fontsize=7)
    axes.set_ylabel("windows with a false alarm")
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def plot_recall(results: dict[str, Any], file: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    for offset, method in enumerate(LEVELLED):
        colour = COLOURS[method.removesuffix("_levelled")]
        for place, of in enumerate(results["drift"]):
            count, total = of["methods"][method]["windows"]
            low, high = wilson(count, total)
            x = place + (offset - 1.5) * 0.17
            axes.plot([x, x], [low, high], color=colour, linewidth=1)
            axes.plot(x, count / total, "o", color=colour, markersize=4, label=None if place else name_of(method))
    axes.set_xticks(range(len(results["drift"])), [text.replace(" ", "\n") for text in columns(results)], fontsize=7)
    axes.set_ylabel("drifting windows found")
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def write(results: dict[str, Any], out: Path) -> None:
    """The page (beside ``out``, from the text of the committed one) and its plots (in ``out``)."""
    mpl.use("svg")
    # The same results give the same bytes.
    mpl.rcParams |= {"svg.hashsalt": "tidegauge", "font.family": "sans-serif"}
    fill(tables(results), out.parent / "evaluation.md")
    plot_false_alarms(results, out / "false-alarms.svg")
    plot_recall(results, out / "recall.svg")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The page and its plots from the results of the last full run")
    parser.parse_args()
    write(json.loads((ROOT / "docs" / "evaluation" / "results.json").read_text()), ROOT / "docs" / "evaluation")
