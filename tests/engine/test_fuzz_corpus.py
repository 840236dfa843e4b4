"""What was written for fuzzing and what fuzzing has found: each target takes it or refuses it as documented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fuzzing import CORPUS, targets

TARGETS = targets()
FILES = [pytest.param(path.parent.name, path, id=f"{path.parent.name}-{path.name[:24]}") for path in sorted(CORPUS.glob("*/*"))]


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()


@pytest.mark.parametrize(("target", "path"), FILES)
def test_a_file_of_the_corpus(target, path):
    TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", [pytest.param(name, marks=pytest.mark.long if name == "delta" else ()) for name in TARGETS])
@given(raw=st.binary(max_size=300), place=st.integers(0, 10**6))
def test_a_file_with_bytes_replaced(target, raw, place):
    for path in sorted((CORPUS / target).iterdir())[:3]:
        whole = path.read_bytes()
        at = place % (len(whole) + 1)
        TARGETS[target](whole[:at] + raw + whole[at + len(raw) :])
