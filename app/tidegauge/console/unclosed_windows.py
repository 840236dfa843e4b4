"""How open windows stand, from the topic ``tidegauge-open-windows``: the newest record of each."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegauge.console.window_series import order
from tidegauge.spec import segment_name

OPEN_WINDOWS_KEPT = 2_000
"""The most records that are held; beyond it those that have not changed for longest are dropped."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_key = msgspec.json.Decoder(tuple[str, str, dict[str, str], str, str]).decode


class OpenWindows:
    """The newest record of each open window that is beyond a limit."""

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Take in one record, where one without value takes a window back; return whether it can be read."""
        try:
            _decode_key(key or b"")
            self._records.pop(key or b"", None)
            if value is not None:
                _decode(value)
                self._records[key or b""] = value
        except (msgspec.MsgspecError, RecursionError):
            return False
        if len(self._records) > OPEN_WINDOWS_KEPT:
            del self._records[next(iter(self._records))]
        return True

    def of(self, model: str, version: str, window: str, segment: str) -> list[dict[str, Any]]:
        """The records of one model version and window length, the oldest window first. ``segment``: as in alerts, such as
        ``region=eu``; "" for the whole model."""
        wanted = (model, version, segment, window)
        found = []
        for key, value in self._records.items():
            name, of_version, of_segment, length, start = _decode_key(key)
            if (name, of_version, segment_name(of_segment), length) == wanted:
                found.append((order(start), value))
        return [_decode(value) for _, value in sorted(found)]
