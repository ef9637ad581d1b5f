"""A real Chromium, and people in it whose browsers complain of nothing."""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

PROGRAM = Path("/usr/bin/chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
_AXE = Path(__file__).parent / "vendor/axe.min.js"
# No name has an address: nothing that a page asks for leaves this machine.
_ARGUMENTS = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*", "--renderer-process-limit=2", "--disable-gpu"]


@contextmanager
def chromium(directory):
    """Run Chromium, without a window. While it runs, no other asyncio loop runs in this thread."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(directory), "XDG_CACHE_HOME": str(directory)}
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=[*_ARGUMENTS, *sandbox], env=environment, timeout=60_000
        )
        try:
            yield browser
        finally:
            browser.close()


class Browsing:
    """The people of one test. `complaints` are all errors in their browsers, and requests to other origins."""

    def __init__(self, browser, origins):
        self._browser, self.origins = browser, set(origins)
        self._contexts, self._expected = [], []
        self.complaints = []

    def open(self, *, locale="en-GB", dark=False, phone=False):
        """Give a page of a person with cookies of their own."""
        more = PHONE if phone else {}
        context = self._browser.new_context(
            locale=locale, color_scheme="dark" if dark else "light", ignore_https_errors=True, **more
        )
        context.set_default_timeout(20_000)
        self._contexts.append(context)
        context.on("console", lambda told: told.type == "error" and self.complaints.append(told.text))
        context.on("weberror", lambda told: self.complaints.append(str(told.error)))
        context.on("request", self._check)
        context.on("requestfailed", self._failed)
        return context.new_page()

    def expect(self, pattern):
        """Take a complaint as right, of which there must be one at the end."""
        self._expected.append(pattern)

    def end(self):
        """Close all, and fail if there were other complaints than those expected."""
        for page in (page for context in self._contexts for page in context.pages):
            page.evaluate("0")  # what was told before has come when this has
        for context in self._contexts:
            context.close()
        others = [told for told in self.complaints if not any(re.search(each, told) for each in self._expected)]
        assert others == [], others
        missing = [each for each in self._expected if not any(re.search(each, told) for told in self.complaints)]
        assert missing == [], f"nobody complained of {missing}, only {self.complaints}"

    def _check(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and f"{parts.scheme}://{parts.netloc}" not in self.origins:
            self.complaints.append(f"request to another origin: {request.url}")

    def _failed(self, request):
        # What is under way when a page is left is aborted.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"request failed: {request.url}: {request.failure}")


def serious_problems(page):
    """Give what axe finds serious or critical in a page: rule, place and help."""
    page.evaluate(_AXE.read_text() + ";0")
    found = page.evaluate("axe.run().then((told) => told.violations)")
    return [
        f"{rule['id']}: {node['target']}: {rule['help']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
