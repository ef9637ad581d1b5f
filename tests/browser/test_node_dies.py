"""The node dies whose console a person uses, over https as in reality: the console of the next node goes on."""

from contextlib import ExitStack

import pytest
from browser.test_farm_page import card, sign_in
from console_nodes import PASSWORD, USERS
from daemons import wait_for
from playwright.sync_api import expect
from real_consoles import console_of

from hcsidecar.core.access.roles import AccessRole


@pytest.fixture(scope="module")
def consoles(farm):
    """The consoles of two nodes, over TLS; browsers keep a cookie by its host, whatever the port."""
    with ExitStack() as stack:
        made = {
            name: stack.enter_context(console_of(farm, name, "--listen", "127.0.0.1:0")) for name in ("web1", "web2")
        }
        body = {"name": USERS[AccessRole.CONTROL], "role": AccessRole.CONTROL.value, "password": PASSWORD}
        status, told = made["web1"].ask("POST", "/access/users", body)
        assert (status, told["ok"]) == (200, True), told
        wait_for(lambda: made["web2"].ask("GET", "/access")[1].get("users"), what="the user on the other node")
        yield made


def test_when_the_node_of_a_console_dies_the_next_nodes_console_goes_on_with_the_same_sign_in(browsing, consoles, farm):
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.CONTROL)
    [cookie] = [each for each in page.context.cookies() if each["httpOnly"]]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    card(page, "web3").get_by_role("button", name="Drain web3").click()
    expect(page.get_by_role("dialog")).to_contain_text("web3 takes no new clients")
    browsing.expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|object Event")
    consoles["web1"].process.kill()
    consoles["web1"].process.wait(10)
    farm.kill("web1")
    expect(page.locator("#lost")).to_be_visible()
    page.goto(consoles["web2"].url("/"))
    expect(page.locator(".who")).to_contain_text(USERS[AccessRole.CONTROL])
    expect(page.locator("#headline")).to_contain_text("2 of 3 nodes are Ready")
    expect(card(page, "web1")).to_contain_text("not heard")
    # Not only to look at: what was begun there is done here.
    card(page, "web3").get_by_role("button", name="Drain web3").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(page.get_by_role("dialog")).to_contain_text("It has begun")
    expect(card(page, "web3")).to_contain_text("draining")
