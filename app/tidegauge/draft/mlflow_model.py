"""Drafts a spec from a run or a registered model in MLflow: its signature, tags and metrics."""

from __future__ import annotations

from tidegauge.draft.sketch import Proposal, Sketch, SketchedFeature, model_name
from tidegauge.lineage.mlflow_reference import MlflowModel
from tidegauge.spec import Task

_TYPES = {"double": "number", "float": "number", "integer": "number", "long": "number", "string": "category",
          "boolean": "boolean"}  # fmt: skip
_TOLD_BY: tuple[tuple[Task, tuple[str, ...]], ...] = (
    (
        "regression",
        ("rmse", "root_mean_squared_error", "mae", "mean_absolute_error", "mse", "mean_squared_error", "r2", "mape"),
    ),
    ("multiclass", ("f1_macro", "macro_f1", "f1_score_macro", "accuracy_top_k")),
    ("binary", ("roc_auc", "auc", "average_precision", "precision_recall_auc", "true_positives", "false_negatives")),
)
"""For each task, the ends of names of metrics that only this task has."""


def sketch_mlflow(given: MlflowModel, model: str | None) -> Sketch:
    """Draft a spec from what MLflow knows about a model. ``model``: its name in the spec, None for MLflow's name."""
    name = model or (given.name and model_name(given.name)) or model_name(given.tags.get("mlflow.runName", "model"))
    sketch = Sketch(name, f"{given.reference} in MLflow" + (f" ({given.page})" if given.page else ""))
    _task(sketch, given)
    for number, column in enumerate(given.signature.get("inputs", [])):
        _feature(sketch, str(column.get("name") or f"input_{number}"), column)
    if not given.signature.get("inputs"):
        sketch.untranslated.append("features: the model was logged without a signature")
    lineage = given.lineage
    sketch.lineage = {name: value for name in ("run_id", "commit", "data_snapshot") if (value := getattr(lineage, name))}
    if given.version is not None:
        sketch.proposals.append(Proposal(
            f"champion: {name}:{given.version}",
            f"{given.reference} is version {given.version}: send model_version {name}:{given.version}. The version that "
            "others are compared with is the one whose role is live, unless you say",
        ))  # fmt: skip
    for metric, value in sorted(given.metrics.items()):
        sketch.untranslated.append(
            f"metric {metric} = {value:.6g}: a baseline with labels has it, and the default monitors compare"
        )
    for tag, value in sorted(given.tags.items()):
        if not tag.startswith("mlflow."):
            sketch.untranslated.append(f"tag {tag}: {value}")
    return sketch


def _task(sketch: Sketch, given: MlflowModel) -> None:
    names = {name.lower() for name in given.metrics}
    found = {task: sorted(name for name in names if name.endswith(ends)) for task, ends in _TOLD_BY}
    told = [(task, of) for task, of in found.items() if of]
    if len(told) == 1:
        sketch.task = told[0][0]
        sketch.guesses["task"] = f"the run has {', '.join(told[0][1])}"
    else:
        sketch.guesses["task"] = "task: neither metrics nor signature tell; it is taken from the first predictions and labels."


def _feature(sketch: Sketch, name: str, column: dict[str, object]) -> None:
    kind = str(column.get("type"))
    if kind in _TYPES:
        sketch.features[name] = SketchedFeature(_TYPES[kind], remark="optional" if column.get("required") is False else "")
        if kind in ("integer", "long"):
            sketch.features[name].remarked("whole numbers: if they are codes, it is a category")
    else:
        sketch.untranslated.append(f"input {name} of type {kind}: a feature here is a number, a text or a truth")
