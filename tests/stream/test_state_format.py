"""State says in which form it is; what does not, or says another, is refused."""

from __future__ import annotations

import pytest

from tidegauge.errors import StateError
from tidegauge.stream import state_format
from tidegauge.stream.store import RocksStore


def test_a_store_is_marked_with_its_first_changes_and_fits_from_then_on(tmp_path):
    store = RocksStore(tmp_path / "store")
    state_format.check(store, "join-0")
    store.put(b"rx", b"1")
    state_format.mark(store)
    store.freeze()
    store.commit(1)
    store.flush()
    store.close()
    state_format.check(RocksStore(tmp_path / "store"), "join-0")


@pytest.mark.parametrize(("pairs", "said"), [({b"rx": b"1"}, "format none"), ({state_format.KEY: b"0"}, "format 0")])
def test_state_of_another_format_is_refused(tmp_path, pairs, said):
    store = RocksStore(tmp_path / "store")
    store.restore(pairs, 7)
    with pytest.raises(StateError, match=f"join-3 was stored in another form .{said}"):
        state_format.check(store, "join-3")
