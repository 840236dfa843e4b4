"""Sets aside work that fails. Work on state from earlier records, such as publishing a window, may fail whatever the new
records are.

The new records are then not the cause. A stage attempts such work piece by piece. A checkpoint in which a piece failed raises
``WorkFailed`` and is repeated without that piece (``engine/containment.py``), so that nothing half done remains. The piece is
left out until its state is deleted or another version of tidegauge runs, which may be able to do it.

    z<piece>        the version of tidegauge that failed to do it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import tidegauge
from tidegauge.engine.stage import Store
from tidegauge.errors import StreamError

NOT_THE_INPUT = (StreamError, OSError)
"""Errors that neither a record nor a piece of work causes."""
T = TypeVar("T")
PIECE = b"z"
VERSION = tidegauge.__version__.encode()


class WorkPiece(NamedTuple):
    """A piece of work. ``key``: identifies it; ``model``: the model it belongs to; ``words``: returns its description, as part
    of a sentence; ``lost``: the bytes that are lost with it, None if there are none."""

    key: bytes
    model: str
    words: Callable[[], str]
    lost: bytes | None = None


class Failure(NamedTuple):
    """A piece of work that failed, and its error."""

    piece: WorkPiece
    error: Exception


class WorkFailed(Exception):
    """Pieces of work failed and were not done."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(f"{piece.words()}: {type(error).__name__}: {error}" for piece, error in failures))
        self.failures = failures


class SetAside:
    """The pieces of one task's work that are set aside."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = {key[1:] for key, version in store.scan(PIECE) if version == VERSION}
        self._failures: dict[bytes, Failure] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def holds(self, prefix: bytes) -> bool:
        """Whether the key of any piece begins with ``prefix``."""
        return any(key.startswith(prefix) for key in self._keys)

    def attempt(self, piece: WorkPiece, work: Callable[[], T], otherwise: T) -> T:
        """Do a piece of work on whose result no other work depends. Returns ``otherwise`` if the piece is set aside or fails; a
        failure is raised later by ``check``."""
        if piece.key in self._keys or piece.key in self._failures:
            return otherwise
        try:
            return work()
        except (*NOT_THE_INPUT, WorkFailed):
            raise
        except Exception as error:
            self._failures[piece.key] = Failure(piece, error)
            return otherwise

    def require(self, piece: WorkPiece, work: Callable[[], T], otherwise: T) -> T:
        """Like ``attempt``, for work on whose result other work depends: raises WorkFailed at once."""
        found = self.attempt(piece, work, otherwise)
        if piece.key in self._failures:
            self.check()
        return found

    def check(self) -> None:
        """Raises WorkFailed if an attempt has failed."""
        if self._failures:
            raise WorkFailed(tuple(self._failures.values()))

    def forget(self, prefix: bytes) -> None:
        """Forget the pieces whose keys begin with ``prefix``, since their state was deleted."""
        for key in [key for key in self._keys if key.startswith(prefix)]:
            self._keys.discard(key)
            self._store.delete(PIECE + key)


def set_aside(store: Store, piece: WorkPiece) -> None:
    """Set a piece of work aside for all stages that are built from this store from now on."""
    store.put(PIECE + piece.key, VERSION)
