"""The logger for asyncio, with the same methods as coroutines."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from tidegauge_logger.frames import Mapped
from tidegauge_logger.logger import FRAME_SECONDS, Logger


class AsyncLogger:
    """Has the same arguments as ``Logger``. ``prediction`` and ``label`` never wait; ``predictions``, ``flush`` and ``close``
    do not block the event loop while they wait."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self.logger = Logger(bootstrap, **settings)

    @classmethod
    def from_env(cls, **given: Any) -> AsyncLogger:
        made = cls.__new__(cls)
        made.logger = Logger.from_env(**given)
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def prediction(self, **members: Any) -> str:
        return self.logger.prediction(**members)

    async def label(self, request_id: Any, label: Any = None, **members: Any) -> None:
        self.logger.label(request_id, label, **members)

    async def predictions(
        self, frame: Any, *, model_version: str | None = None, mapping: Mapped | None = None, timeout: float = FRAME_SECONDS
    ) -> list[str]:
        return await asyncio.to_thread(
            self.logger.predictions, frame, model_version=model_version, mapping=mapping, timeout=timeout
        )

    async def flush(self, timeout: float = 5.0) -> bool:
        return await asyncio.to_thread(self.logger.flush, timeout)

    async def close(self, timeout: float = 5.0) -> None:
        await asyncio.to_thread(self.logger.close, timeout)

    @property
    def dropped(self) -> int:
        return self.logger.dropped
