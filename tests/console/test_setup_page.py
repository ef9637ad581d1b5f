"""The page that leads from a new server to a served page."""

import asyncio
import tomllib

import pytest
from console_nodes import console_here
from pages import browser, csrf_in

from hcsidecar.console.examples import ExampleName, example
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.farmfile.application_tables import with_application
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.named_files import named_files

FARM = '[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'


def told(tmp_path, story, *, role=AccessRole.ADMIN):
    async def run():
        async with console_here(tmp_path) as console, browser(console, role) as ask:
            return await story(console, ask)

    return asyncio.run(run())


@pytest.mark.parametrize("name", ExampleName, ids=str)
def test_each_example_is_a_right_farm_with_all_its_scripts(name):
    shown = example(name)
    farm = read(tomllib.loads(with_application(FARM, shown.tables)))
    assert isinstance(farm, FarmFile), farm
    assert set(named_files(farm.parts).values()) <= set(shown.files)
    assert farm.check
    for file, (content, executable) in shown.files.items():
        assert executable == content.startswith(b"#!"), file


def test_a_farm_without_revision_is_led_to_its_first_one(tmp_path):
    async def story(console, ask):
        settings = console.nodes["web1"].control.settings
        report = settings.report

        async def without():
            found = await report()
            return type(found)(**{key: getattr(found, key) for key in found.__struct_fields__} | {"settled": None})

        settings.report = without
        _, _, page = await ask("GET", "/settings/setup")
        assert 'action="/settings/unapplied"' in page
        assert 'action="/settings/setup/application"' not in page
        _, _, page = await ask("GET", "/settings")
        assert '<a href="/settings/setup">' in page

    told(tmp_path, story)


def test_an_example_goes_into_the_draft_and_its_step_is_done(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/setup")
        assert 'class="step next"' in page
        form = {"csrf": csrf_in(page), "example": "site"}
        status, headers, _ = await ask("POST", "/settings/setup/application", form)
        assert (status, headers["Location"]) == (303, "/settings/setup")
        _, _, page = await ask("GET", "/settings/setup")
        assert "No problem found" in page
        assert page.count('class="step done"') == 6  # all but apply, and the restart after it
        await ask("POST", "/settings/plan", {"csrf": form["csrf"]})
        ((candidate, _),) = console.nodes["web1"].control.settings.candidates
        assert [(file.name, file.executable) for file in candidate.files] == [
            ("farm.toml", False),
            ("bin/site.py", False),
            ("bin/start", True),
            ("bin/stop", True),
        ]

    told(tmp_path, story)


def test_an_example_does_not_replace_what_it_cannot_read(tmp_path):
    async def story(_console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        await ask("POST", "/settings/check", {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "[farm"})
        status, _, page = await ask("POST", "/settings/setup/application", {"csrf": csrf_in(page), "example": "site"})
        assert (status, "mend it in the editor" in page) == (409, True)

    told(tmp_path, story)


def test_the_line_for_a_new_server_is_made_by_a_button_and_for_programs(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/setup")
        form = {"csrf": csrf_in(page), "node": "web4"}
        _, _, page = await ask("POST", "/settings/setup/join", form)
        assert "hcsidecar join 192.0.2.11 --token hcj1.abc --name web4" in page
        _, _, part = await ask("POST", "/settings/setup/join", {**form, "node": ""}, HX_Request="true")
        assert "<h1>" not in part
        assert "--token hcj1.abc</pre>" in part
        status, _, line = await console.ask("POST", "/api/v1/joining/tokens", {"valid": 60})
        assert (status, line) == (200, {"command": "hcsidecar join 192.0.2.11 --token hcj1.abc", "valid": 60})
        status, _, _ = await ask("POST", "/settings/setup/join", {**form, "node": "a b"})
        assert status == 400

    told(tmp_path, story)


def test_who_has_joined_is_shown(tmp_path):
    async def story(console, ask):
        await console.nodes["web3"].stop_tcp()
        _, _, part = await ask("GET", "/settings/setup/nodes")
        assert part.count("<tr><td>") == 3
        assert "does not answer" in part

    told(tmp_path, story)


@pytest.mark.parametrize("role", [AccessRole.MONITOR, AccessRole.CONTROL], ids=str)
def test_who_is_no_admin_sets_nothing_up(tmp_path, role):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings")
        assert '/settings/setup"' not in page.replace('<a href="/settings/setup">', "")
        for path in ("/settings/setup/join", "/settings/setup/application"):
            status, _, _ = await ask("POST", path, {"csrf": csrf_in(page), "example": "site"})
            assert status == 403
        assert (await ask("GET", "/settings/setup"))[0] == 403
        status, _, _ = await console.ask("POST", "/api/v1/joining/tokens", {}, role=role)
        assert status == 403

    told(tmp_path, story, role=role)
