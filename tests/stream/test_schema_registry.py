"""Decoding many records leaves the event loop to others; settings that cannot be used are refused."""

import asyncio
import json

import pytest

from support import framed
from tidegauge.engine.stage import Record
from tidegauge.errors import StreamError
from tidegauge.stream.schema_registry import AT_ONCE, registry_at


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, 5 * AT_ONCE + 1])
def test_records_stay_in_their_order_and_the_event_loop_turns(count):
    async def run():
        turns = 0

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with registry_at("http://127.0.0.1:1") as registry:
            registry._decoding.learn(1, framed.schemas("JSON")[0])
            values = [json.dumps(number).encode() for number in range(count)]
            records = [
                Record(number, -1, None, framed.framed(1, value) if number % 3 else value)
                for number, value in enumerate(values)
            ]
            beside = asyncio.create_task(others())
            found = await registry.decoded(records)
            beside.cancel()
        assert [record.value for record in found] == values
        assert [record.offset for record in found] == list(range(count))
        return turns

    assert asyncio.run(run()) >= count // AT_ONCE - (count <= AT_ONCE)


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("registry:8081", {}, "is not a URL"),
        ("http://user:password@registry:8081", {}, "TIDEGAUGE_SCHEMA_REGISTRY_USERNAME"),
        ("https://registry:8081", {"TIDEGAUGE_SCHEMA_REGISTRY_CAFILE": "/nowhere.pem"}, "nowhere.pem"),
        ("http://registry", {"TIDEGAUGE_SCHEMA_REGISTRY_BEARER_TOKEN_FILE": "/nowhere"}, "cannot be read"),
        ("http://registry", {f"TIDEGAUGE_SCHEMA_REGISTRY_{name}": "x" for name in ("USERNAME", "BEARER_TOKEN")}, "set one"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used(monkeypatch, url, environment, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def run():
        async with registry_at(url):
            pass

    with pytest.raises(StreamError, match=said):
        asyncio.run(run())
