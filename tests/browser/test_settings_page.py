"""A change of the farm's settings in a real browser, on real daemons: edited, planned, applied, and taken back."""

import zipfile

from browser.browsing import serious_problems
from browser.test_farm_page import sign_in
from playwright.sync_api import expect
from safekit_modules import SCRIPTS, xml


def first_revision(farm):
    """Make the first revision of the farm, if another test has not."""
    done = farm.cli("apply", "--yes", node="web1")
    assert done.returncode == 0 or "nothing" in done.stdout + done.stderr, done.stderr


def test_a_change_is_edited_planned_applied_on_every_node_and_taken_back(browsing, consoles, farm):
    first_revision(farm)
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


def test_problems_stand_at_their_lines_as_one_types_and_a_reload_loses_nothing(browsing, consoles, farm):
    first_revision(farm)
    page = sign_in(browsing.open(), consoles["web1"])
    page.goto(consoles["web1"].url("/settings/edit"))
    page.locator(".cm-content").first.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\n[log]\nmost = 1\n")
    expect(page.locator("#draft-problems")).to_contain_text("log.most")
    expect(page.locator(".cm-lint-marker-error").first).to_be_visible()
    page.reload()
    expect(page.locator(".cm-content").first).to_contain_text("[log]")
    expect(page.locator("#draft-problems")).to_contain_text("log.most")
    page.get_by_role("button", name="Discard the draft").click()
    page.goto(consoles["web1"].url("/settings/edit"))
    expect(page.locator(".cm-content").first).not_to_contain_text("[log]")


def test_a_safekit_module_is_uploaded_its_script_edited_applied_and_taken_back(browsing, consoles, farm, tmp_path):
    first_revision(farm)
    module = tmp_path / "web.safe"
    with zipfile.ZipFile(module, "w") as archive:
        archive.writestr("conf/userconfig.xml", xml())
        for name, content in SCRIPTS.items():
            archive.writestr(f"bin/{name}", content)
    page = sign_in(browsing.open(), consoles["web1"])
    page.goto(consoles["web1"].url("/settings/safekit"))
    page.get_by_label("module (.safe or userconfig.xml)").set_input_files(module)
    page.get_by_role("button", name="Put it into the draft").click()
    expect(page.locator("main")).to_contain_text("Taken over with a difference")
    assert serious_problems(page) == []
    page.get_by_role("link", name="Look at the draft").click()
    script = page.get_by_role("textbox", name="bin/start_both")
    script.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("echo edited in the browser\n")
    expect(page.locator("#draft-problems")).to_contain_text("No problem found")
    page.get_by_role("button", name="Check it, and show the plan").click()
    expect(page.locator("main")).to_contain_text("web1, web2, web3")
    page.get_by_role("button", name="Apply to every node").click()
    expect(page.locator(".node-progress")).to_contain_text("web3: goes by it")
    other = sign_in(browsing.open(), consoles["web2"])
    other.goto(consoles["web2"].url("/settings"))
    expect(other.locator("main")).to_contain_text("the SafeKit module web")

    page.get_by_role("button", name="Plan to go back to it 1").click()
    page.get_by_role("button", name="Apply to every node").click()
    expect(page.locator("#settings-part")).to_contain_text("back to revision 1")
    # The page of somebody else, which is open, follows by itself.
    expect(other.locator("main")).to_contain_text("back to revision 1")
