"""Debian's chromium, driven by Selenium: pages at some width, light or dark, and what they complain about."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
"""Put there by ``.ci/run``, or by ``npm install --prefix tests/browser axe-core``; git ignores it."""
SCREENS = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
_HEIGHTS = {390: 844, 1280: 900}
"""Heights of screens by their widths; others are 900 high."""


def start(folder: Path):
    """Open a browser without a window; skip with the reason where one is lacking.

    Parameters
    ----------
    folder : Path
        Where it may keep files.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromium-driver are not installed: apt-get install chromium chromium-driver")
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}  # its manager would look for browsers elsewhere
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    arguments += ["--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"]
    arguments += ["--force-prefers-reduced-motion", "--hide-scrollbars"]
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    page = Page(selenium.Chrome(options=options, service=Service(driver, log_output=subprocess.DEVNULL)))
    page.driver.get("about:blank")
    page.driver.set_script_timeout(60)
    page.requests()
    return page


class Page:
    """One tab, and what was asked of the network and said on the console while pages were open in it."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def screen(self, width: int, scheme: str = "light") -> None:
        """Emulate a screen of some width, and what its owner prefers."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": _HEIGHTS.get(width, 900), "deviceScaleFactor": 1, "mobile": width < 500},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, address: str | Path) -> None:
        """Open a file or address."""
        self.driver.get("about:blank")
        self.driver.get(address.absolute().as_uri() if isinstance(address, Path) else address)

    def run(self, script: str, *arguments):
        """Call a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list:
        """Find elements."""
        return self.driver.find_elements("css selector", selector)

    def click(self, selector: str, text: str | None = None) -> None:
        """Click the first element, or the first that has a text."""
        found = [one for one in self.all(selector) if text is None or one.text.strip() == text]
        assert found, f"nothing to click: {selector} {text or ''}"
        self.run("arguments[0].scrollIntoView({block: 'center'})", found[0])
        found[0].click()

    def texts(self, selector: str) -> list[str]:
        """Texts of elements as they are shown."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())", selector)

    def shoot(self, path: Path) -> None:
        """Save a picture of the whole page."""
        size = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 6000), "scale": 1}
        made = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        import base64

        path.write_bytes(base64.b64decode(made["data"]))

    def complaints(self) -> list[str]:
        """What the console said as warnings or errors since the last call."""
        return [one["message"] for one in self.driver.get_log("browser") if one["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call, those inside a page left out."""
        events = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "about:", "blob:", "chrome:"))]

    def left_the_machine(self) -> list[str]:
        """Requests that went elsewhere than to a file or to this machine."""
        return [url for url in self.requests() if not url.startswith(("file:", "http://127.0.0.1:"))]

    def findings_of_axe(self) -> list[str]:
        """What axe-core finds wrong, with the elements; skip with the reason where it is not installed."""
        if not AXE.is_file():
            pytest.skip(f"axe-core is not installed: npm install --no-save --prefix {AXE.parents[2]} axe-core")
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations'], preload: false})"
            ".then((r) => done(r.violations), (e) => done([{id: String(e), nodes: []}]));"
        )
        return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:4]]}" for one in found]

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def choose(page: Page, label: str, value: str) -> None:
    """Choose in one of the filters of the page over a store."""
    script = "const s = document.querySelector(`[data-focus='select ${arguments[0]}']`); s.value = arguments[1];"
    page.run(f"{script} s.dispatchEvent(new Event('change'))", label, value)
