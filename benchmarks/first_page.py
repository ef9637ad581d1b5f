"""What the first page of the console weighs and how long it takes, in a real Chromium."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.console_process import Console
from benchmarks.figures import CannotMeasureError
from hcsidecar.core.console.openapi import COOKIE

_PROGRAM: Final = Path("/usr/bin/chromium")
_AFTERWARDS: Final = 0.5
"Seconds after the load event in which what the scripts ask for belongs to the page."
_TIMES: Final = """() => ({
    loaded: performance.getEntriesByType("navigation")[0].loadEventEnd,
    seen: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
})"""


class Shown(NamedTuple):
    """One visit of the page."""

    loaded: float
    "Milliseconds from the beginning of the navigation to the end of the load event."
    seen: float
    "Milliseconds until something of it was seen."
    carried: int
    "Bytes of the answers as they came over the wire, heads included."
    asked: int
    "Requests that went over the wire."


class Browser:
    """A Chromium; each visit of `first` is by somebody who has never been there."""

    def __init__(self, browser: Any, console: Console) -> None:
        self._browser, self._console = browser, console

    @contextmanager
    def newcomer(self) -> Iterator[Any]:
        """Give a page of a browser that has nothing but the session."""
        context = self._browser.new_context()
        try:
            context.add_cookies([{"name": COOKIE, "value": self._console.session, "url": self._console.url}])
            yield context.new_page()
        finally:
            context.close()

    def visit(self, page: Any) -> Shown:
        """Open the Farm page."""
        told = page.context.new_cdp_session(page)
        lengths: list[int] = []

        def finished(event: dict[str, Any]) -> None:
            # What comes from the browser's own cache has no length.
            if event["encodedDataLength"]:
                lengths.append(event["encodedDataLength"])

        told.on("Network.loadingFinished", finished)
        told.send("Network.enable")
        page.goto(f"{self._console.url}/", wait_until="load")
        page.wait_for_timeout(1000 * _AFTERWARDS)
        times = page.evaluate(_TIMES)
        told.detach()
        return Shown(times["loaded"], times["seen"], sum(lengths), len(lengths))


@contextmanager
def chromium(console: Console) -> Iterator[Browser]:
    """Run a Chromium where the farm's observer is. Raise CannotMeasureError if there is none."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only who measures this needs it
    except ImportError:
        raise CannotMeasureError("playwright is missing (pip install playwright)") from None
    if not _PROGRAM.exists():
        raise CannotMeasureError("Chromium is missing (apt-get install chromium)")
    home = console.farm.directory / "chromium"
    arguments = [
        f"--ignore-certificate-errors-spki-list={console.key_hash}",
        *("--disable-gpu", "--renderer-process-limit=2"),
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    # What is started in a network namespace stays there.
    with console.farm.observer.entered(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_PROGRAM,
            args=arguments,
            env={**os.environ, "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)},
            timeout=60_000,
        )
        try:
            time.sleep(1.0)
            yield Browser(browser, console)
        finally:
            browser.close()
