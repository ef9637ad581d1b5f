"""A change of the farm's settings in a real browser, on real daemons: edited, planned, applied, and taken back."""

from browser.browsing import serious_problems
from browser.test_farm_page import sign_in
from playwright.sync_api import expect


def test_a_change_is_edited_planned_applied_on_every_node_and_taken_back(browsing, consoles, farm):
    assert farm.cli("apply", "--yes", node="web1").returncode == 0
    page = sign_in(browsing.open(), consoles["web1"])
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("table").first).to_contain_text("web3")
    page.get_by_role("link", name="Edit").click()
    editor = page.locator(".cm-content").first
    expect(editor).to_contain_text("[farm]")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type('\n[health]\npath = "/well"\n')
    page.get_by_label("Why (for the history)").fill("a better path")
    assert serious_problems(page) == []
    page.get_by_role("button", name="Check it, and show the plan").click()
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    expect(page.locator("main")).to_contain_text("web1, web2, web3")
    expect(page.locator(".diff")).to_contain_text('path = "/well"')
    assert serious_problems(page) == []
    page.get_by_role("button", name="Apply to every node").click()
    expect(page.locator("#progress")).to_contain_text("in force")
    page.reload()
    expect(page.locator("main")).to_contain_text("a better path")
    assert serious_problems(page) == []

    page.get_by_role("button", name="Plan to go back to it 1").click()
    page.get_by_role("button", name="Apply to every node").click()
    expect(page.locator("#progress")).to_contain_text("in force")
    page.reload()
    expect(page.locator("main")).to_contain_text("back to revision 1")
