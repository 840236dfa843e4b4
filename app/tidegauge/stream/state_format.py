"""The version of the form in which stages keep their state, kept with it: state of another form is refused, not misread."""

from __future__ import annotations

from tidegauge.engine.stage import Store
from tidegauge.errors import StateError

KEY = b"\xffformat"
"""No stage has keys that begin so."""
FORMAT = b"1"
"""Grows whenever a version could misread what the one before has stored. Release notes say so, and ``CONTRIBUTING.md`` when."""
_RESERVED = b"\x00"


def check(store: Store, whose: str) -> None:
    """Raises StateError where what is stored has another form, or says none. An empty store fits."""
    found = store.get(KEY)
    if found == FORMAT or (found is None and all(key.startswith(_RESERVED) for key, _ in store.scan(b""))):
        return
    said = "none" if found is None else found.decode("utf-8", "replace")
    raise StateError(
        f"the state of {whose} was stored in another form (format {said}, this version has {FORMAT.decode()}): go back to the "
        "version that stored it, or stop all workers and run tidegauge state rebuild, which makes the state anew from the "
        "topics; see Upgrades in docs/operations.md"
    )


def mark(store: Store) -> None:
    """Store the form along with the first changes."""
    if store.get(KEY) is None:
        store.put(KEY, FORMAT)
