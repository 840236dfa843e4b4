"""The version of the format of stored state, which is stored with it, so that state in another format is refused."""

from __future__ import annotations

from tidegauge.engine.stage import Store
from tidegauge.errors import StateError

KEY = b"\xffformat"
"""The key of the format. No stage has keys that begin with its first byte."""
FORMAT = b"1"
"""The current format. It is increased whenever a version could misread what the previous one stored; ``CONTRIBUTING.md`` says
when, and release notes announce it."""
_RESERVED = b"\x00"


def check(store: Store, whose: str) -> None:
    """Raises StateError if the stored state has another format, or none. An empty store is accepted."""
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
    """Store the format with the first changes."""
    if store.get(KEY) is None:
        store.put(KEY, FORMAT)
