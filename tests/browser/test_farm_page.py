"""The Farm page in a real browser, on a farm of three real daemons: what an operator sees and does at night."""

import os
import re
import signal

import pytest
from browser.browsing import serious_problems
from console_nodes import PASSWORD, USERS
from daemons import wait_for
from playwright.sync_api import expect

from hcsidecar.core.access.roles import AccessRole

expect.set_options(timeout=20_000)


def sign_in(page, console, role=AccessRole.ADMIN):
    page.goto(console.url("/"))
    page.get_by_label("Name").fill(USERS[role])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Farm")
    return page


def write_error(farm, text):
    done = farm.cli("log", "error", text, node="web2")
    assert done.returncode == 0, done.stderr


def card(page, node):
    return page.locator(f"#card-{node}")


@pytest.fixture
def three_ready(farm):
    yield farm
    for name in farm.names:
        if name not in farm.daemons:
            farm.start(name)
    farm.all_ready()


def test_who_watches_sees_a_node_die_and_return(browsing, consoles, three_ready):
    farm = three_ready
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.MONITOR)
    expect(page.locator("#headline")).to_contain_text("3 of 3 nodes are Ready")
    farm.kill("web3")
    expect(card(page, "web3")).to_contain_text("not heard")
    expect(page.locator("#headline")).to_contain_text("2 of 3 nodes are Ready")
    expect(page.locator("#favicon")).to_have_attribute("href", re.compile("icon-bad"))
    expect(page.locator("table.events")).to_contain_text("web3")
    farm.start("web3")
    expect(card(page, "web3").locator(".card.good")).to_be_visible()
    expect(page.locator("#headline")).to_contain_text("3 of 3 nodes are Ready")
    expect(page.locator("#favicon")).to_have_attribute("href", re.compile("icon-good"))


def test_each_page_says_how_well_the_farm_is_and_notifies_whom_the_browser_may_notify(browsing, consoles, three_ready):
    farm = three_ready
    page = browsing.open()
    page.context.grant_permissions(["notifications"], origin=consoles["web1"].url())
    sign_in(page, consoles["web1"], AccessRole.MONITOR)
    page.evaluate("localStorage.setItem('told', '[]')")
    page.add_init_script("""
        class Told {
            static permission = "granted";
            static async requestPermission() { return "granted"; }
            constructor(title, { body }) {
                const told = JSON.parse(localStorage.getItem("told"));
                localStorage.setItem("told", JSON.stringify([...told, [title, body]]));
            }
        }
        window.Notification = Told;
    """)
    page.goto(consoles["web1"].url("/support"))
    expect(page.locator("#farm-level")).to_have_text("3 of 3 nodes are Ready")
    page.get_by_role("button", name="Notify me in this browser when the farm is not well").click()
    expect(page.get_by_role("button", name="Do not notify me in this browser any more")).to_be_visible()
    farm.kill("web3")
    expect(page.locator("#farm-level")).to_have_text("2 of 3 nodes are Ready")
    expect(page.locator("#favicon")).to_have_attribute("href", re.compile("icon-bad"))
    farm.start("web3")
    expect(page.locator("#farm-level .level.good")).to_have_text("3 of 3 nodes are Ready")
    told = page.evaluate("JSON.parse(localStorage.getItem('told'))")
    assert told == [["Farm · hcsidecar", "2 of 3 nodes are Ready"], ["Farm · hcsidecar", "3 of 3 nodes are Ready"]]


def test_a_frozen_daemon_is_shown_as_one_that_does_not_answer(browsing, consoles, three_ready):
    farm = three_ready
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.MONITOR)
    expect(card(page, "web2").locator(".card.good")).to_be_visible()
    process = farm.daemons["web2"]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        expect(card(page, "web2")).to_contain_text("The other nodes do not hear it")
        expect(card(page, "web2")).to_contain_text("is what it last said")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    expect(card(page, "web2").locator(".card.good")).to_be_visible()


def test_a_node_is_stopped_and_started_by_buttons_and_each_says_first_what_it_does(browsing, consoles, three_ready):
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.CONTROL)
    card(page, "web2").get_by_role("button", name="Stop web2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("web2 drains, up to")
    expect(dialog).to_contain_text("Then 2 of 3 nodes are Ready.")
    dialog.get_by_role("button", name="Stop").click()
    expect(dialog).to_contain_text("It has begun")
    dialog.get_by_role("link", name="Close").click()
    expect(card(page, "web2").locator(".card.stopped")).to_be_visible()
    card(page, "web2").get_by_role("button", name="Start web2").click()
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_contain_text("It has begun")
    page.keyboard.press("Escape")
    expect(card(page, "web2").locator(".card.good")).to_be_visible()


def test_two_browsers_see_the_same(browsing, consoles, three_ready):
    first = sign_in(browsing.open(), consoles["web1"], AccessRole.CONTROL)
    second = sign_in(browsing.open(), consoles["web2"], AccessRole.MONITOR)
    expect(second.get_by_role("button", name="Stop web3")).to_have_count(0)
    card(first, "web3").get_by_role("button", name="Drain web3").click()
    first.get_by_role("dialog").get_by_role("button", name="Drain").click()
    for page in (first, second):
        expect(card(page, "web3")).to_contain_text("draining")
    first.get_by_role("link", name="Close").click()
    card(first, "web3").get_by_role("button", name="Resume web3").click()
    first.get_by_role("dialog").get_by_role("button", name="Resume").click()
    for page in (first, second):
        expect(card(page, "web3").locator(".card.good")).to_be_visible()


def test_when_a_console_ends_the_next_nodes_goes_on_with_the_same_sign_in(browsing, consoles, three_ready):
    page = sign_in(browsing.open(), consoles["web3"], AccessRole.MONITOR)
    browsing.expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|object Event")
    consoles["web3"].process.kill()
    consoles["web3"].process.wait(10)
    expect(page.locator("#lost")).to_be_visible()
    page.goto(consoles["web1"].url("/"))
    expect(page.locator("#headline")).to_contain_text("3 of 3 nodes are Ready")
    expect(page.locator(".who")).to_contain_text(USERS[AccessRole.MONITOR])


def test_by_the_keyboard_alone_a_node_is_drained_and_resumed(browsing, consoles, three_ready):
    page = browsing.open()
    page.goto(consoles["web1"].url("/sign-in"))
    page.keyboard.type(USERS[AccessRole.CONTROL])
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#headline")).to_be_visible()

    def press(name, key="Enter"):
        passed = []
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = page.evaluate("""() => {
                const focused = document.activeElement;
                return focused.matches("a, button") ? focused.textContent.replace(/\\s+/g, " ").trim() : "";
            }""")
            if name in focused:
                page.keyboard.press(key)
                return
            passed.append(focused)
        raise AssertionError(f"no {name} by the tab key, only {passed}")

    press("Drain web2", " ")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Drain")
    expect(page.get_by_role("dialog")).to_contain_text("It has begun")
    page.keyboard.press("Escape")
    expect(card(page, "web2")).to_contain_text("draining")
    press("Resume web2")
    press("Resume")
    expect(card(page, "web2").locator(".card.good")).to_be_visible()


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"phone": True}, {"locale": "fr-FR"}], ids=str)
@pytest.mark.parametrize(
    "path",
    [
        "/sign-in",
        "/",
        "/farm/act?action=stop",
        "/events",
        "/runs",
        "/clients",
        "/timeline",
        "/settings",
        "/support",
        "/nothing",
    ],
)
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window(browsing, consoles, look, path):
    page = browsing.open(**look)
    if path == "/nothing":
        browsing.expect("404")
    if path == "/sign-in":
        page.goto(consoles["web1"].url(path))
    else:
        page.goto(consoles["web1"].url("/sign-in"))
        page.locator("[name=name]").fill(USERS[AccessRole.ADMIN])
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("button.main").click()
        page.wait_for_selector("#headline")
        page.goto(consoles["web1"].url(path))
    assert serious_problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_kill_is_seen_in_the_browser_of_every_node_that_lives(browsing, consoles, three_ready):
    pages = [sign_in(browsing.open(), consoles[name], AccessRole.MONITOR) for name in ("web1", "web2")]
    three_ready.kill("web3")
    for page in pages:
        expect(card(page, "web3")).to_contain_text("not heard")
    wait_for(lambda: three_ready.view("web1") == ["web1", "web2"], what="the others go on")


def test_what_changes_takes_neither_the_focus_nor_an_open_menu_away(browsing, consoles, three_ready):
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.CONTROL)
    menu = card(page, "web2").locator("details")
    menu.locator("summary").click()
    page.get_by_role("button", name="Restart web2").focus()
    three_ready.act("web2", "drain")
    expect(card(page, "web2")).to_contain_text("draining")
    three_ready.act("web2", "resume")
    expect(card(page, "web2").locator(".card.good")).to_be_visible()
    expect(menu).to_have_attribute("open", "")
    expect(page.get_by_role("button", name="Restart web2")).to_be_focused()


def test_the_chart_of_the_last_hour_has_a_line_for_each_node_and_marks_for_errors(browsing, consoles, three_ready):
    write_error(three_ready, "the disk is full")
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.MONITOR)
    hour = page.locator("#hour")
    expect(hour).to_have_attribute("data-drawn", "ready")
    expect(hour.locator("canvas")).to_be_visible()
    for name in three_ready.names:
        expect(hour.locator(f'tr[data-node="{name}"] [data-value="highest"]')).to_have_text("1")
    before = int(hour.get_attribute("data-marks"))
    assert before >= 1
    hour.get_by_label("What is drawn").select_option("health")
    expect(hour).to_have_attribute("data-drawn", "health")
    page.get_by_role("button", name="Dark").click()
    expect(hour.locator("canvas")).to_be_visible()
    write_error(three_ready, "the disk is full again")
    expect(hour).to_have_attribute("data-marks", str(before + 1))
