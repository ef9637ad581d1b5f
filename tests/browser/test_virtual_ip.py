"""A farm that shares a virtual IP, in a real browser: who takes which part, and who serves a client."""

import pytest
from browser.test_farm_page import sign_in
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from playwright.sync_api import expect

from hcsidecar.core.access.roles import AccessRole

pytestmark = needs_root
PARTS = "() => [...document.querySelectorAll('#shares svg.strip')].map((strip) => strip.innerHTML)"


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    directory = tmp_path_factory.mktemp("farm")
    with site(directory) as lan, shared_farm(lan, delivery="directed", packet_filter="tc") as made:
        yield made.start().serving()


def test_the_page_of_clients_says_who_serves_one_and_what_the_filters_do(browsing, consoles, farm):
    client = str(farm.site.clients.addresses[4])
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.MONITOR)
    page.get_by_role("link", name="Clients").click()
    page.get_by_label("address of the client").fill(client)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="as web1 sees it")).to_be_visible()
    expect(page.locator("section.card").first.locator("strong").first).to_have_text(farm.owner(client))
    expect(page.get_by_text("The nodes do not agree")).to_have_count(0)
    for name in farm.names:
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text(f"answered for by {farm.director(4)}").first).to_be_visible()
    page.get_by_label("address of the client").fill("nowhere")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert").filter(has_text="nowhere")).to_have_count(1)


def test_the_strip_of_buckets_moves_when_a_node_leaves(browsing, consoles, farm):
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.MONITOR)
    strips = page.locator("#shares")
    for name in farm.names:
        expect(strips.locator(f'[data-takes="{name}"]').first).to_be_visible()
    before = page.evaluate(PARTS)
    expect(strips).to_contain_text(VIP[4])
    farm.kill_daemon("web3")
    expect(strips.locator('[data-takes="web3"]')).to_have_count(0)
    expect(strips.locator('[data-takes="web1"]').first).to_be_visible()
    assert page.evaluate(PARTS) != before
    farm.start("web3").serving()
    expect(strips.locator('[data-takes="web3"]').first).to_be_visible()
    assert page.evaluate(PARTS) == before
