"""A real Chromium, and a console for it to look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.debian import program
from support.page import Browser
from support.serving import Running, fed, outputs, running
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import DEAD_LETTERS, Output
from tidegauge.stream.reading_progress import GroupPosition

EVIL = b'<img src=x onerror="document.title=1"><script>document.title=2</script>'


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, driver = program("chromium", "chromium"), program("chromedriver", "chromium-driver")
    started = Browser(chromium, driver, tmp_path_factory.mktemp("chromium"))
    try:
        yield started
    finally:
        started.quit()


@pytest.fixture(scope="session")
def said() -> list[Output]:
    return outputs()


@pytest.fixture(scope="module")
def console(said: list[Output]) -> Iterator[Running]:
    view = fed(View(), said)
    headers = (("reason", b"not_json"), ("message", EVIL), ("topic", b"labels"), ("partition", b"0"), ("offset", b"7"))
    view.take(DEAD_LETTERS, [Line(EVIL, EVIL, headers, 1_700_000_000_000)] * 3)
    for at, done in ((1_700_000_000.0, 10), (1_700_000_005.0, 60)):
        view.progress.measured(at, [GroupPosition("join", "predictions", 0, done, done + 12)])
    with running(view) as started:
        yield started


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no violation of the content security policy, no error on a page, no request to anywhere else."""
    yield
    if "browser" in request.fixturenames:
        browser: Browser = request.getfixturevalue("browser")
        assert browser.complaints() == []
