"""A SafeKit module that is uploaded to the console: what becomes of it, and what hostile ones do: nothing."""

import asyncio
import base64
import io
import zipfile

import aiohttp
import pytest
from console_nodes import console_here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages import browser, csrf_in
from safekit_modules import SCRIPTS, VIP, xml

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.safekit.module import UPLOADED

HOSTILE = "<script>alert(1)</script>"


CONFIGURATION = xml(VIP)


def archive(*files, configuration=CONFIGURATION):
    """Give the bytes of a module: pairs of name and content."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("conf/userconfig.xml", configuration)
        for name, content in files:
            file.writestr(name, content)
    return made.getvalue()


MODULE = archive(*((f"bin/{name}", content) for name, content in SCRIPTS.items()), ("bin/logo", b"\xff\xfe"))


def told(tmp_path, story, *, role=AccessRole.ADMIN):
    async def run():
        async with console_here(tmp_path) as console, browser(console, role) as ask:
            return await story(console, ask)

    return asyncio.run(run())


async def upload(ask, content, *, name="web.safe", macros="", csrf=None):
    _, _, page = await ask("GET", "/settings")
    form = aiohttp.FormData()
    form.add_field("csrf", csrf_in(page) if csrf is None else csrf)
    form.add_field("macros", macros)
    form.add_field("module", io.BytesIO(content), filename=name, content_type="application/octet-stream")
    status, _, page = await ask("POST", "/settings/safekit", form)
    return status, page


async def draft(ask):
    """Give the page with the draft, None if there is none."""
    _, _, page = await ask("GET", "/settings/edit")
    return page if "your draft" in page else None


def test_a_module_goes_into_the_draft_and_its_report_is_shown(tmp_path):
    async def story(console, ask):
        status, page = await upload(ask, MODULE)
        assert status == 200
        assert "Taken over with a difference" in page
        assert "virtual_addr addr" in page
        page = await draft(ask)
        assert 'name="name[]" value="bin/start_both"' in page
        assert 'name="kept[]" value="bin/logo"' in page
        assert "[[l2.vip]]" in page
        settings_here = console.nodes["web1"].control.settings
        assert settings_here.candidates == []
        # What is no text comes into the plan as it was.
        _, _, _ = await ask("POST", "/settings/plan", {"csrf": csrf_in(page)})
        ((candidate, _by),) = settings_here.candidates
        assert {file.name: file.content for file in candidate.files}["bin/logo"] == b"\xff\xfe"

    told(tmp_path, story)


def test_a_configuration_alone_is_taken_with_the_macros_that_are_typed(tmp_path):
    text = xml(VIP.replace("192.0.2.50", "%ADDRESS%"), before='<macro name="ADDRESS" value="TO_BE_DEFINED"/>')

    async def story(console, ask):
        status, page = await upload(ask, text.encode(), name="userconfig.xml")
        assert status == 400
        assert "cannot be taken over" in page
        assert await draft(ask) is None
        status, page = await upload(ask, text.encode(), name="userconfig.xml", macros="ADDRESS=192.0.2.77\r\n")
        assert status == 200
        assert "192.0.2.77" in await draft(ask)
        status, page = await upload(ask, text.encode(), name="userconfig.xml", macros="ADDRESS")
        assert (status, "is not NAME=VALUE" in page) == (400, True)

    told(tmp_path, story)


HARMFUL = {
    "a zip bomb": (lambda: archive(("bin/x", bytes(3_000_000))), "times as big as in the archive"),
    "many files that are a bomb together": (
        lambda: archive(*((f"bin/{n}", bytes(1_000_000)) for n in range(9))),
        "bytes when it is unpacked",
    ),
    "too many files": (lambda: archive(*((f"bin/{n}", b"") for n in range(UPLOADED.files))), "more than 200 files"),
    "path traversal": (lambda: archive(("bin/../../../etc/cron.d/x", b"x")), "leads out of the module"),
    "an absolute path": (lambda: archive(("/etc/cron.d/x", b"x")), "leads out of the module"),
    "a name that is a script": (lambda: archive((f"bin/{HOSTILE}\n", b"x")), "is not printable"),
    "an entity bomb": (
        lambda: archive(configuration='<!DOCTYPE safe [<!ENTITY a "aaaa">]><safe>&a;</safe>'),
        "declares an entity",
    ),
    "a file of the machine": (
        lambda: archive(configuration='<!DOCTYPE safe SYSTEM "file:///etc/passwd"><safe/>'),
        "refers to another file",
    ),
    "no archive at all": (lambda: b"<safe/>", "is not an archive"),
    "half an archive": (lambda: MODULE[:200], "is a broken archive"),
    "nothing": (lambda: b"", "choose a file first"),
}


@pytest.mark.parametrize("harm", HARMFUL)
def test_a_harmful_module_is_refused_with_the_reason_and_changes_no_draft(tmp_path, harm):
    make, why = HARMFUL[harm]

    async def story(_console, ask):
        status, page = await upload(ask, make())
        assert status == 400
        assert why in page
        assert HOSTILE not in page
        assert await draft(ask) is None

    told(tmp_path, story)


def test_the_name_of_a_file_and_the_texts_of_a_module_are_shown_as_text(tmp_path):
    async def story(_console, ask):
        _, page = await upload(ask, b"x", name=f"{HOSTILE}.safe")
        assert HOSTILE not in page
        # Leading dots and slashes lead nowhere: no file of that name is ever made.
        _, page = await upload(ask, archive((f"web/{HOSTILE}", b"")), name="../../x.safe")
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page

    told(tmp_path, story)


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(tmp_path):
    async def story(_console, ask):
        status, _ = await upload(ask, b"PK" + bytes(UPLOADED.archive + 100_000))
        assert status == 413

    told(tmp_path, story)


def test_an_upload_that_does_not_say_its_length_or_has_too_many_fields_is_refused(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings")
        kind = "multipart/form-data; boundary=x"

        async def endless():
            while True:
                yield b"--x\r\n" + bytes(1000)

        async with ask.session.post(
            console.url("/settings/safekit"), data=endless(), headers={"Content-Type": kind}
        ) as response:
            assert response.status == 411
        field = '--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n' + csrf_in(page) + "\r\n"
        status, _, _ = await ask("POST", "/settings/safekit", (field * 30 + "--x--\r\n").encode(), Content_Type=kind)
        assert status == 400
        status, _, _ = await ask("POST", "/settings/safekit", {"csrf": csrf_in(page)})
        assert status == 415

    told(tmp_path, story)


def test_an_upload_by_another_site_or_without_its_secret_is_refused(tmp_path):
    async def story(_console, ask):
        status, _ = await upload(ask, MODULE, csrf="0" * 64)
        assert status == 403
        assert await draft(ask) is None

    told(tmp_path, story)


@pytest.mark.parametrize("role", [AccessRole.MONITOR, AccessRole.CONTROL], ids=str)
def test_who_is_no_admin_uploads_nothing(tmp_path, role):
    async def story(console, ask):
        assert (await upload(ask, MODULE))[0] == 403
        body = {"name": "x.safe", "content": "", "farm_file": ""}
        status, _, _ = await console.ask("POST", "/api/v1/settings/safekit", body, role=role)
        assert status == 403

    told(tmp_path, story, role=role)


def test_the_api_converts_a_module_for_programs(tmp_path):
    async def story(console, _ask):
        farm = b'[farm]\nname = "shop"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'
        body = {"name": "web.safe"}
        body |= {"content": base64.b64encode(MODULE).decode(), "farm_file": base64.b64encode(farm).decode()}
        status, _, report = await console.ask("POST", "/api/v1/settings/safekit", body)
        assert (status, report["problems"]) == (200, [])
        assert report["files"][0]["name"] == "farm.toml"
        status, _, report = await console.ask("POST", "/api/v1/settings/safekit", body | {"content": "UEs="})
        assert "is a broken archive" in report["problems"][0]

    told(tmp_path, story)


PIECES = [b"--x\r\n", b"--x--\r\n", b'Content-Disposition: form-data; name="a"\r\n', b"\r\n", b"Content-Length: 9\r\n"]
PIECES += [b"Content-Type: multipart/mixed; boundary=y\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\xff\0"]
PIECES += [b'Content-Disposition: form-data; name="module"; filename="../x"\r\n', b"Content-Encoding: gzip\r\n"]


def test_no_form_that_is_badly_encoded_breaks_the_console(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings")
        headers = {"Content-Type": "multipart/form-data; boundary=x", "X-Hcsidecar-CSRF": csrf_in(page)}
        found = set()

        async def send(body):
            async with ask.session.post(console.url("/settings/safekit"), data=body, headers=headers) as response:
                found.add(response.status)

        loop, bodies = asyncio.get_running_loop(), []

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.sampled_from(PIECES), max_size=8))
        def draw(pieces):
            bodies.append(b"".join(pieces))

        await loop.run_in_executor(None, draw)
        for body in bodies:
            await send(body)
        assert found <= {400, 403, 415}
        assert (await upload(ask, MODULE))[0] == 200

    told(tmp_path, story)
