"""Driving Chromium: what a person at a page sees and does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --disable-extensions --window-size=1280,900"
)
PATIENCE = 60.0


class Browser:
    """One Chromium with a profile of its own, and everything it asked the network for."""

    def __init__(self, chromium: str, driver: str, directory: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS.split(), f"--user-data-dir={directory}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(PATIENCE / 2)
        self._hosts: set[str] = set()
        self.expected: tuple[str, ...] = ()

    def quit(self) -> None:
        self.driver.quit()

    def open(self, address: str, width: int = 1280, scheme: str = "light", zone: str = "UTC", height: int = 900) -> None:
        """Open an address in a fresh document, as on a screen so wide and high, in a zone, with a taste for light or dark."""
        self.leave()
        self.complaints()
        self.expected = ()
        cdp = self.driver.execute_cdp_cmd
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        cdp("Emulation.setDeviceMetricsOverride", size)
        cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        cdp("Emulation.setTimezoneOverride", {"timezoneId": zone})
        self._hosts = {urlsplit(address).netloc}
        self.driver.get(address)

    def leave(self) -> None:
        """Leave the page, before its console stops and it complains of that."""
        self.driver.get("about:blank")

    def complaints(self) -> list[str]:
        """Since last asked: errors on a page (but those ``expected``), violations of the policy, requests to other hosts."""
        found = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] != "INFO" and not any(part in entry["message"] for part in self.expected)
        ]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                parts = urlsplit(message["params"]["request"]["url"])
                if parts.scheme in ("http", "https", "ws", "wss") and self._hosts and parts.netloc not in self._hosts:
                    found.append(f"a request to {parts.netloc}")
        return found

    def wait(self, said: Callable[[], Any]) -> Any:
        """What ``said`` returns once it is something."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = said()
                if found:
                    return found
            except StaleElementReferenceException:
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE} s; the page says:\n{self.text()[:3000]}")
            time.sleep(0.1)

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first element of a selector, waited for."""
        found: WebElement = self.wait(lambda: next(iter(self.all(selector)), None))
        return found

    def click(self, selector: str) -> None:
        self.one(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", self.one(selector))
        self.one(selector).click()

    def has(self, text: str) -> None:
        """Wait for a text."""
        self.wait(lambda: text in self.text())

    def rows(self, table: str) -> list[list[str]]:
        """The cells of a table's body, row by row, as shown."""
        self.one(f"{table} tbody tr")
        found: list[list[str]] = self.run(
            "return [...document.querySelectorAll(arguments[0] + ' > tbody > tr')]"
            ".map(row => [...row.children].map(cell => cell.innerText.trim()))", table,
        )  # fmt: skip
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def tab_to(self, selector: str, most: int = 120) -> None:
        """Press Tab until the element has the focus, which has to be visible."""
        for _ in range(most):
            self.press(Keys.TAB)
            if self.run("return document.activeElement.matches(arguments[0])", selector):
                outline = self.run("return getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none"
                return
        raise AssertionError(f"{selector} cannot be reached with the keyboard")
