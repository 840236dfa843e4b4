"""Work that is set aside: what a stage does with state it took in earlier, as publishing a window, may fail whatever comes in.

No record at hand is to blame then. A stage attempts such work piece by piece; a checkpoint in which a piece failed raises
``WorkFailed``, and is made again without that piece (``engine/containment.py``), so that nothing half done stays. The piece is
left out from then on, until it is gone itself or another version of tidegauge runs, which may do better.

    z<piece>        the version of tidegauge that failed to do it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import tidegauge
from tidegauge.engine.stage import Store
from tidegauge.errors import StreamError

NOT_THE_INPUT = (StreamError, OSError)
"""What neither a record nor a piece of work is to blame for."""
T = TypeVar("T")
PIECE = b"z"
VERSION = tidegauge.__version__.encode()


class Piece(NamedTuple):
    """``key``: by which it is known again; ``model`` it belongs to; ``words`` gives what it is, as part of a sentence;
    ``lost``: what is lost with it, as it came."""

    key: bytes
    model: str
    words: Callable[[], str]
    lost: bytes | None = None


class Failure(NamedTuple):
    piece: Piece
    error: Exception


class WorkFailed(Exception):
    """Pieces of work failed, and were not done."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(f"{piece.words()}: {type(error).__name__}: {error}" for piece, error in failures))
        self.failures = failures


class SetAside:
    """What of one task's work is set aside."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = {key[1:] for key, version in store.scan(PIECE) if version == VERSION}
        self._failures: dict[bytes, Failure] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def holds(self, prefix: bytes) -> bool:
        """Whether any piece's key begins with this."""
        return any(key.startswith(prefix) for key in self._keys)

    def attempt(self, piece: Piece, work: Callable[[], T], otherwise: T) -> T:
        """What a piece of work gives that no other builds on; ``otherwise`` where it is set aside, or fails."""
        if piece.key in self._keys or piece.key in self._failures:
            return otherwise
        try:
            return work()
        except (*NOT_THE_INPUT, WorkFailed):
            raise
        except Exception as error:
            self._failures[piece.key] = Failure(piece, error)
            return otherwise

    def require(self, piece: Piece, work: Callable[[], T], otherwise: T) -> T:
        """As ``attempt``, of work that others build on: raises WorkFailed at once."""
        found = self.attempt(piece, work, otherwise)
        if piece.key in self._failures:
            self.check()
        return found

    def check(self) -> None:
        """Raises WorkFailed where an attempt has failed."""
        if self._failures:
            raise WorkFailed(tuple(self._failures.values()))

    def forget(self, prefix: bytes) -> None:
        """Pieces whose keys begin with this are gone."""
        for key in [key for key in self._keys if key.startswith(prefix)]:
            self._keys.discard(key)
            self._store.delete(PIECE + key)


def set_aside(store: Store, piece: Piece) -> None:
    """Leave a piece of work out from now on, in stages that are built upon the store."""
    store.put(PIECE + piece.key, VERSION)
