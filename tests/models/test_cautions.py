"""`models check` notes what a sound spec may not mean as it is written."""

import pytest

from tidegauge.cli.main import main


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("data.features.*.p_value", True), ("data.features.age.ks_p_value", True), ("prediction.tail_p_value", True),
        ("data.features.*.shift_p_value", False), ("prediction.mix_p_value", False), ("data.features.*.psi", False),
    ],
)  # fmt: skip
def test_p_values_of_independent_rows_are_noted(tmp_path, capsys, metric, told):
    monitor = f"{{name: mine, metric: {metric}, window: 1d, below: 0.001}}"
    (tmp_path / "m.yaml").write_text(f"model: m\nwindows: [1d]\nmonitors:\n  - {monitor}\n")
    assert main(["models", "check", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out == "m: sound\n"
    assert ("takes requests as independent" in said.err and metric in said.err) == told
