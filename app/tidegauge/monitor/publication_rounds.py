"""Publishes and judges the windows of a model that are due at one moment, a bounded part of them at a time.

All of them together are a round. Many windows may close at one moment, and one window may have hundreds of segments with
thousands of features. Other models have their turn in between; for the model itself nothing else is done before its round is
complete, so neither its records nor the order of its alerts depend on how the round was divided. The numbers of a window are
computed first, a part at a time, and held in memory; all its records are published together. A restart computes them again.

    c<model>                          the round of a model that is not complete
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import inf

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.set_aside import SetAside
from tidegauge.engine.stage import Output, Store
from tidegauge.monitor.due_windows import DueWindow, DueWindows, Reason
from tidegauge.monitor.publishing import Publisher
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.monitor.work_pieces import BYTES_A_PIECE, publishing_of, within, work_of_output
from tidegauge.spec import ModelSpec

ROUND = b"c"


class StoredRound(msgspec.Struct, array_like=True):
    """A round as it is stored, with windows by their keys; their segments are None if all are published. ``prepared``: how many
    segments of the first window were computed, which lets a checkpoint that has computed some, and nothing else, count as
    progress."""

    moment: float
    left: list[tuple[bytes, list[Segment] | None, Reason | None]]
    published: list[bytes]
    gone: list[bytes]
    closes: bool
    prepared: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredRound).decode


class Round:
    """The windows that are due at the event time ``moment``. ``left``: those not published yet; ``published``: those whose
    record of the whole model was; ``gone``: windows to be deleted once all are published; ``closes``: whether any window
    closes; ``prepared``: how many segments of the first window are computed."""

    def __init__(self, moment: float, left: Iterable[DueWindow], gone: Sequence[Header], closes: bool) -> None:
        self.moment, self.left, self.gone, self.closes = moment, deque(left), gone, closes
        self.published: list[Header] = []
        self.prepared = 0


class PublicationRounds:
    """The rounds of all models of one monitor task."""

    def __init__(self, store: Store, windows: Windows, due_windows: DueWindows, publisher: Publisher, aside: SetAside) -> None:
        self._store, self._windows, self._due_windows = store, windows, due_windows
        self._publisher, self._aside = publisher, aside
        self._rounds = {key[1:].decode(): self._restored(_decode(raw)) for key, raw in store.scan(ROUND)}
        self._stored = set(self._rounds)

    def _restored(self, of: StoredRound) -> Round:
        headers = self._windows.headers
        left = [
            DueWindow(headers[key], headers[key].segments if segments is None else segments, reason)
            for key, segments, reason in of.left
            if key in headers
        ]
        found = Round(of.moment, left, [headers[key] for key in of.gone if key in headers], of.closes)
        found.published.extend(headers[key] for key in of.published if key in headers)
        return found

    def __contains__(self, model: str) -> bool:
        """Whether the model has a round that is not complete."""
        return model in self._rounds

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rounds))

    def begin(self, model: str, windows: Sequence[DueWindow], moment: float, gone: Sequence[Header] = ()) -> None:
        """Begin a round. Windows are ordered by their end; shorter ones come before longer ones with the same end, whose
        verdicts take theirs into account."""
        ordered = sorted(windows, key=lambda of: (of.header.end, -of.header.start, of.header.version))
        self._rounds[model] = Round(moment, ordered, gone, any(of.reason == "closed" for of in windows))

    def advance(self, spec: ModelSpec, most: float, final: bool = False) -> tuple[list[Output], int]:
        """Go on with the round of a model until its windows are published or so much work is done; return the outputs and the
        work. ``final``: whether the input has ended, in which case ``most`` must be infinite."""
        of = self._rounds[spec.model]
        outputs: list[Output] = []
        work = 0
        waits = self._publisher.holds_much and not of.prepared and most < inf
        while of.left and work < most and not waits:
            work += self._prepare(of, most - work)
            if of.prepared == len(of.left[0].segments):
                of.prepared = 0
                said = self._publish(of, of.left.popleft(), spec, final)
                outputs.extend(said)
                work += sum(map(work_of_output, said))
                waits = self._publisher.holds_much and most < inf
        if final:
            # The windows that these make stale are published as well. Those make no further windows stale.
            for due in self._due_windows.made_stale(spec.model):
                outputs.extend(self._publish(of, due, spec, final))
        return outputs, work

    def _prepare(self, of: Round, most: float) -> int:
        """Compute the next records of the first window; return how much work that was."""
        header, segments, _ = of.left[0]
        rest = segments[of.prepared :]
        none = [0] * len(rest)
        done = self._aside.attempt(
            publishing_of(header), partial(self._publisher.prepare, header, rest, most * BYTES_A_PIECE), none
        )
        of.prepared += len(done)
        return sum(done) // BYTES_A_PIECE

    def _publish(self, of: Round, due: DueWindow, spec: ModelSpec, final: bool) -> list[Output]:
        header = due.header

        def publish() -> list[Output]:
            self._due_windows.note(due, spec, of.moment, final)
            return self._publisher.publish(header, due.segments, of.moment, due.reason)

        outputs: list[Output] = []
        outputs.extend(self._aside.attempt(publishing_of(header), publish, []))
        self._publisher.release(header)
        if publishing_of(header).key in self._aside:
            self._windows.give_up(header, of.moment)
        elif () in due.segments:
            of.published.append(header)
        return outputs

    def completed(self, model: str) -> Round | None:
        """The round of a model if all its windows are published, which ends it; else None."""
        if self._rounds[model].left:
            return None
        return self._rounds.pop(model)

    def delete(self, gone: Iterable[Header]) -> None:
        """Delete windows that are no longer kept."""
        for header in gone:
            self._publisher.forget(header)
            self._windows.forget(header)
            self._aside.forget(within(header))

    def flush(self) -> None:
        """Write what changed to the store."""
        for model in self._stored - self._rounds.keys():
            self._store.delete(ROUND + model.encode())
        for model, of in self._rounds.items():
            left = [
                (due.header.key, None if due.segments == due.header.segments else due.segments, due.reason) for due in of.left
            ]
            published, gone = ([header.key for header in headers] for headers in (of.published, of.gone))
            stored = StoredRound(of.moment, left, published, gone, of.closes, of.prepared)
            self._store.put(ROUND + model.encode(), _encode(stored))
        self._stored = set(self._rounds)
