"""The link that the demo prints, followed in a real browser; the pictures of the README come from here.

`make pictures` writes them into docs/pictures; else they are made and thrown away.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from browser.browsing import Browsing
from daemons import wait_for
from playwright.sync_api import expect


@pytest.fixture
def demo(tmp_path):
    said = tmp_path / "said"
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "hcsidecar", "demo"], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield wait_for(lambda: re.search(r"http://\S+/sign-in\?link=\S+", said.read_text()), limit=60, what="the link")[
            0
        ]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_the_demos_link_shows_the_farm_and_what_a_button_will_do(browser, demo, tmp_path):
    pictures = Path(os.environ.get("HCSIDECAR_PICTURES") or tmp_path)
    origin = demo.partition("/sign-in")[0]
    people = Browsing(browser, {origin})
    page = people.open()
    page.set_viewport_size({"width": 1120, "height": 760})
    page.goto(demo)
    page.get_by_role("button", name="Sign in by this link").click()
    expect(page.locator("#headline")).to_contain_text("3 of 3 nodes are Ready")
    expect(page.locator("#card-web3")).to_contain_text("WEB")
    page.screenshot(path=pictures / "console-farm.png")
    page.get_by_role("button", name="Stop web2").click()
    expect(page.get_by_role("dialog")).to_contain_text("web2 drains, up to")
    page.screenshot(path=pictures / "console-stop.png")
    page.goto(demo)
    page.get_by_role("button", name="Sign in by this link").click()
    people.expect("401")
    expect(page.get_by_role("alert").first).to_contain_text("this link is used")
    people.end()
