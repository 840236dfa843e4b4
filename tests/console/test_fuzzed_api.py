"""The API's answers to requests that Schemathesis makes of its document; `make fuzz` sends many more."""

import pytest

from support import api_fuzzing


@pytest.mark.skipif(
    not (api_fuzzing.SCHEMATHESIS / "schemathesis").exists(), reason="make .venv-fuzz/.ready installs Schemathesis"
)
def test_every_answer_is_one_that_the_document_names() -> None:
    assert api_fuzzing.run(examples=2, seed=0) == 0
