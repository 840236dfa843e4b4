"""A bad network: TCP connections that go through it are held up, slowed, or broken."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable

CHUNK = 1 << 14


class Proxy:
    """Listens on some ports of 127.0.0.1 and passes on what comes to others, both ways. A context manager.

    ``routes``: by port to listen on the port to connect to. All settings may be changed at any time, from any thread.
    """

    def __init__(self, routes: dict[int, int], seed: int = 0) -> None:
        self._routes, self._random = routes, random.Random(seed)
        self.delay = 0.0
        """Seconds that each piece of a stream is held up."""
        self.bytes_per_second = float("inf")
        """Of each connection and direction."""
        self.loss = 0.0
        """The chance that a connection breaks, piece by piece."""
        self.broken = 0
        """How many did."""
        self.passed = 0
        """Bytes passed on."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._in_loop(self._start())
        return self

    def __exit__(self, *error: object) -> None:
        self._in_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told: packets are lost, as with a cable that is pulled."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Everything passes again, at once; what was held up comes after all, as TCP sends it again."""
        self.delay, self.bytes_per_second, self.loss = 0.0, float("inf"), 0.0
        self._loop.call_soon_threadsafe(self._open.set)

    def _in_loop(self, job: object) -> None:
        asyncio.run_coroutine_threadsafe(job, self._loop).result(30)  # type: ignore[arg-type]

    async def _start(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._servers = [
            await asyncio.start_server(self._connected(target), "127.0.0.1", port) for port, target in self._routes.items()
        ]

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, target: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(reader, writer, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return serve

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        writers = [writer]
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            writers.append(far_writer)
            ways = [asyncio.ensure_future(self._pass(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            # Nobody listens there: the one who called learns it by the end of the connection.
            pass
        finally:
            for each in writers:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                if self._random.random() < self.loss:
                    self.broken += 1
                    return
                await asyncio.sleep(self.delay + len(piece) / self.bytes_per_second)
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
                self.passed += len(piece)
