"""The farm file of the draft as a form."""

import asyncio
import re

import pytest
from console_nodes import console_here
from pages import browser, csrf_in

from hcsidecar.core.access.roles import AccessRole

HOSTILE = '"><script>alert(1)</script>'


def told(tmp_path, story, *, role=AccessRole.ADMIN):
    async def run():
        async with console_here(tmp_path) as console, browser(console, role) as ask:
            return await story(console, ask)

    return asyncio.run(run())


async def opened(ask):
    _, _, page = await ask("GET", "/settings/form")
    return page, [("csrf", csrf_in(page)), ("digest", re.search(r'name="digest" value="([0-9a-f]{64})"', page)[1])]


def test_what_is_typed_goes_into_the_draft_when_it_is_sent(tmp_path):
    async def story(console, ask):
        page, form = await opened(ask)
        assert 'value="node[1].power"' in page
        form += [("key[]", "node[1].power"), ("value[]", "3"), ("add", "check http")]
        status, headers, _ = await ask("POST", "/settings/form", form)
        assert (status, headers["Location"]) == (303, "/settings/form")
        _, _, page = await ask("GET", "/settings/edit")
        assert "power = 3" in page
        page, _ = await opened(ask)
        assert 'value="check[1].path"' in page
        assert console.nodes["web1"].control.settings.candidates == []

    told(tmp_path, story)


def test_while_somebody_types_he_is_told_what_would_be_wrong_and_the_draft_stays(tmp_path):
    async def story(_console, ask):
        _, form = await opened(ask)
        typed = [("key[]", "node[1].power"), ("value[]", HOSTILE)]
        _, _, part = await ask("POST", "/settings/form", form + typed, HX_Request="true")
        assert 'data-path="node[1].power"' in part
        assert HOSTILE not in part
        _, _, page = await ask("GET", "/settings/edit")
        assert "your draft" not in page

    told(tmp_path, story)


def test_a_value_is_shown_as_text_with_its_problem_at_its_field(tmp_path):
    async def story(_console, ask):
        _, form = await opened(ask)
        await ask("POST", "/settings/form", [*form, ("key[]", "node[1].power"), ("value[]", HOSTILE)])
        page, _ = await opened(ask)
        assert HOSTILE not in page
        assert re.search(r'data-problem="node\[1\].power">[^<]+<', page)

    told(tmp_path, story)


def test_a_form_of_a_draft_that_has_changed_meanwhile_overwrites_nothing(tmp_path):
    async def story(_console, ask):
        _, form = await opened(ask)
        more = [("key[]", "node[1].power"), ("value[]", "3")]
        await ask("POST", "/settings/form", form + more)
        status, _, page = await ask("POST", "/settings/form", form + more)
        assert (status, "load the page again" in page) == (409, True)

    told(tmp_path, story)


@pytest.mark.parametrize("fields", [[("key[]", "farm.name"), ("value[]", "x")], [("removed[]", "node[1]")]])
def test_a_field_that_the_form_does_not_have_is_refused(tmp_path, fields):
    async def story(_console, ask):
        _, form = await opened(ask)
        status, _, _ = await ask("POST", "/settings/form", form + fields)
        assert status == 409

    told(tmp_path, story)


def test_a_file_that_is_no_toml_is_to_be_mended_in_the_editor(tmp_path):
    async def story(_console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        await ask("POST", "/settings/check", {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "[farm"})
        status, _, page = await ask("GET", "/settings/form")
        assert (status, "mend it in the editor" in page) == (409, True)

    told(tmp_path, story)


def test_who_is_no_admin_gets_no_form(tmp_path):
    async def story(_console, ask):
        assert (await ask("GET", "/settings/form"))[0] == 403

    told(tmp_path, story, role=AccessRole.CONTROL)
