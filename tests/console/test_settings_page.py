"""The Settings pages: what is in force, a draft, its plan, and that it is applied."""

import asyncio
import io
import re

import msgspec
import pytest
from console_nodes import console_here, eventually
from pages import browser, csrf_in, until_part

from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import CandidateReport, CheckOutcome, ProposalReport
from hcsidecar.core.settings.revision import Manifest, RevisionId

HOSTILE = "<script>alert(1)</script>"


def told(tmp_path, story, *, role=AccessRole.ADMIN):
    async def run():
        async with console_here(tmp_path) as console, browser(console, role) as ask:
            return await story(console, ask)

    return asyncio.run(run())


def settings_of(console, node="web1"):
    return console.nodes[node].control.settings


def test_the_page_shows_what_is_in_force_on_each_node(tmp_path):
    async def story(console, ask):
        await console.nodes["web3"].stop_tcp()
        _, _, page = await ask("GET", "/settings")
        digest = settings_of(console).revision.id.digest[:12]
        assert page.count(f"<code>{digest}</code>") == 2
        assert "does not answer" in page
        assert "/settings/edit" in page

    told(tmp_path, story)


def test_a_draft_becomes_a_plan_and_is_applied(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        assert "[farm]" in page
        form = {
            "csrf": csrf_in(page),
            "name[]": "farm.toml",
            "content[]": "[farm]\r\nname = 'x'\r\n",
            "message": "why",
        }
        _, _, plan = await ask("POST", "/settings/plan", form)
        ((candidate, by),) = settings_of(console).candidates
        assert [(file.name, file.content) for file in candidate.files] == [("farm.toml", b"[farm]\nname = 'x'\n")]
        assert (candidate.message, by) == ("why", "alice (console, 127.0.0.1)")
        digest = re.search(r'name="digest" value="([0-9a-f]{64})"', plan)[1]
        status, headers, _ = await ask("POST", "/settings/apply", {"csrf": csrf_in(plan), "digest": digest})
        assert (status, headers["Location"]) == (303, "/settings")
        assert [body.digest for body in settings_of(console).proposals] == [digest]

    told(tmp_path, story)


def test_a_script_in_a_file_or_a_message_of_a_draft_is_text_in_every_page(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        content = f"</textarea>{HOSTILE}"
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": content, "message": f'">{HOSTILE}'}
        await ask("POST", "/settings/check", form)
        _, _, edited = await ask("GET", "/settings/edit")
        _, _, plan = await ask("POST", "/settings/plan", form)
        digest = re.search(r'name="digest" value="([0-9a-f]{64})"', plan)[1]
        await ask("POST", "/settings/apply", {"csrf": csrf_in(plan), "digest": digest})
        _, _, shown = await ask("GET", "/settings")
        assert "&lt;script&gt;alert(1)" in edited
        for text in (plan, edited, shown):
            assert "<script>alert" not in text

    told(tmp_path, story)


def test_problems_of_every_node_are_shown_and_there_is_no_button_then(tmp_path):
    async def story(console, ask):
        settings = settings_of(console)

        async def make(body, *, by):
            return CandidateReport(
                revision=settings.revision.id,
                checks=(CheckOutcome(node="web1"), CheckOutcome(node="web2", problems=(f"no eth7 {HOSTILE}",))),
            )

        settings.make = make
        _, _, page = await ask("GET", "/settings/edit")
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": f"# {HOSTILE}\n"}
        _, _, plan = await ask("POST", "/settings/plan", form)
        assert "web2: no eth7 &lt;script&gt;" in plan
        assert "/settings/apply" not in plan
        assert HOSTILE not in plan
        # The draft is not lost: it goes back into the editor.
        _, _, again = await ask("POST", "/settings/edit", form)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in again

    told(tmp_path, story)


def test_a_file_is_added_and_removed_in_the_draft(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "[farm]\n", "new_name": "check.sh"}
        _, _, again = await ask("POST", "/settings/edit", form)
        assert 'name="name[]" value="check.sh"' in again
        assert "#!/bin/sh" in again

    told(tmp_path, story)


def test_going_back_is_a_plan_first(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings")
        _, _, plan = await ask("POST", "/settings/back", {"csrf": csrf_in(page), "number": "1"})
        ((candidate, _by),) = settings_of(console).candidates
        assert (candidate.number, candidate.message) == (1, "back to revision 1")
        assert "Apply to every node" in plan

    told(tmp_path, story)


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a/../../b", HOSTILE])
def test_a_name_that_leads_elsewhere_is_for_the_farm_to_refuse_and_is_shown_as_text(tmp_path, name):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        form = {"csrf": csrf_in(page), "name[]": name, "content[]": "x"}
        _, _, again = await ask("POST", "/settings/edit", form)
        assert HOSTILE not in again
        # The console has no file system of its own to write to: what it is given goes to the daemon as it is.
        await ask("POST", "/settings/plan", form)
        ((candidate, _by),) = settings_of(console).candidates
        assert [file.name for file in candidate.files] == [name]

    told(tmp_path, story)


def test_a_draft_that_is_too_large_is_refused(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        form = f"csrf={csrf_in(page)}&name[]=farm.toml&content[]=".encode() + b"x" * (7 * 1024 * 1024)
        kind = "application/x-www-form-urlencoded"
        status, _, _ = await ask("POST", "/settings/plan", io.BytesIO(form), Content_Type=kind)
        assert status == 413
        assert settings_of(console).candidates == []

    told(tmp_path, story)


@pytest.mark.parametrize("role", [AccessRole.MONITOR, AccessRole.CONTROL], ids=str)
def test_who_is_no_admin_sees_what_is_in_force_and_no_files_and_can_change_nothing_by_hand(tmp_path, role):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings")
        assert "/settings/edit" not in page
        assert "/settings/changes" not in page
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "x"}
        for path in ("/settings/plan", "/settings/edit"):
            status, _, _ = await ask("POST", path, form)
            assert status == 403
        status, _, _ = await ask("GET", "/settings/edit")
        assert status == 403
        assert settings_of(console).candidates == []

    told(tmp_path, story, role=role)


def test_what_to_type_into_a_load_balancer_is_there_to_copy(tmp_path):
    farm = b'[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'

    async def story(console, ask):
        settings = settings_of(console)
        settings.content = farm
        settings.revision = Manifest.of(
            {"farm.toml": farm}, farm="apache", number=1, parents=(), author="root on web1", made_at=1
        )
        _, _, page = await ask("GET", "/settings/balancers?port=8080")
        assert "server web1 192.0.2.11:8080" in page
        assert "HAProxy" in page
        assert "Azure" in page
        # Who has a draft is shown what that needs.
        _, _, page = await ask("GET", "/settings/edit")
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": farm.decode().replace("2.11", "2.19")}
        await ask("POST", "/settings/check", form)
        _, _, page = await ask("GET", "/settings/balancers")
        assert "server web1 192.0.2.19:80" in page
        await ask("POST", "/settings/check", {**form, "content[]": "[farm"})
        status, _, page = await ask("GET", "/settings/balancers")
        assert (status, "mend it in the editor" in page) == (409, True)

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["/settings/plan", "/settings/back", "/settings/unapplied"])
def test_a_dead_node_can_be_left_out(tmp_path, path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        await console.nodes["web3"].stop_tcp()

        async def is_silent():
            _, _, farm = await ask("GET", "/farm/web3/card")
            return "does not answer" in farm

        await eventually(is_silent)
        form = {"csrf": csrf_in(page)}
        form |= {"name[]": "farm.toml", "content[]": "[farm]\n"} if path == "/settings/plan" else {}
        form |= {"number": "1"} if path == "/settings/back" else {}
        _, _, plan = await ask("POST", path, form)
        assert 'name="without[]" value="web3"' in plan
        assert f'action="{path}"' in plan
        await ask("POST", path, {**form, "without[]": "web3"})
        assert [body.without for body, _ in settings_of(console).candidates] == [(), ("web3",)]
        assert [body.number for body, _ in settings_of(console).candidates] == [form.get("number") and 1] * 2

    told(tmp_path, story)


def test_who_has_changed_the_settings_meanwhile_is_not_overwritten_unawares(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        base = re.search(r'name="base" value="([0-9a-f]{64})"', page)[1]
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "[farm]\n", "base": base}
        _, _, plan = await ask("POST", "/settings/plan", form)
        assert "have changed since" not in plan
        assert f'name="base" value="{base}"' in plan
        settings = settings_of(console)
        settings.revision = Manifest.of(
            {"farm.toml": b"[farm]\n# other\n"}, farm="apache", number=2, parents=(), author="x", made_at=1
        )
        _, _, plan = await ask("POST", "/settings/plan", form)
        assert "The settings in force have changed since this draft was begun." in plan

    told(tmp_path, story)


def test_a_draft_outlives_a_reload_and_is_of_its_person_alone_until_it_is_discarded(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        assert "your draft" not in page
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "# mine\n"}
        await ask("POST", "/settings/check", form)
        _, _, page = await ask("GET", "/settings/edit")
        assert "# mine" in page
        assert "your draft" in page
        _, _, page = await ask("GET", "/settings")
        assert "Go on with your draft" in page
        status, headers, _ = await ask("POST", "/settings/discard", {"csrf": form["csrf"]})
        assert (status, headers["Location"]) == (303, "/settings")
        _, _, page = await ask("GET", "/settings/edit")
        assert "# mine" not in page

    told(tmp_path, story)


def test_problems_are_told_with_their_lines_as_one_types_and_nothing_is_proposed(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        text = (
            f'[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n[health]\npath = "{HOSTILE}"\n'
        )
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": text, "new_name": "half"}
        _, _, part = await ask("POST", "/settings/check", form, HX_Request="true")
        assert 'data-path="health.path" data-line="7"' in part
        assert HOSTILE not in part
        assert settings_of(console).candidates == []
        _, _, page = await ask("GET", "/settings/edit")
        assert 'value="half"' not in page

    told(tmp_path, story)


def test_a_file_is_renamed_in_the_draft(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        form = [("csrf", csrf_in(page)), ("name[]", "farm.toml"), ("former[]", "farm.toml"), ("content[]", "")]
        form += [("name[]", "bin/go"), ("former[]", "bin/start"), ("content[]", "x"), ("executable[]", "bin/start")]
        _, _, again = await ask("POST", "/settings/edit", form)
        assert 'name="name[]" value="bin/go"' in again
        assert 'name="executable[]" value="bin/go" checked' in again

    told(tmp_path, story)


def test_a_draft_that_has_come_into_force_is_forgotten(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/settings/edit")
        form = {"csrf": csrf_in(page), "name[]": "farm.toml", "content[]": "# mine\n"}
        await ask("POST", "/settings/plan", form)  # this candidate has the digest of what is in force already
        _, _, page = await ask("GET", "/settings")
        assert "Go on with your draft" not in page

    told(tmp_path, story)


def test_the_api_checks_a_draft_for_programs(tmp_path):
    async def story(console, _ask):
        files = [{"name": "farm.toml", "content": "W2Zhcm0="}]  # [farm
        status, _, found = await console.ask("POST", "/api/v1/settings/checks", {"files": files})
        assert status == 200
        assert [(each["file"], each["line"]) for each in found["problems"]] == [("farm.toml", 1)]
        status, _, _ = await console.ask("POST", "/api/v1/settings/checks", {"files": files}, role=AccessRole.CONTROL)
        assert status == 403

    told(tmp_path, story)


def proposed(settings, progress, **more):
    """Let a node coordinate a proposal."""
    report = settings.report

    async def with_proposal():
        found = await report()
        proposal = ProposalReport(revision=RevisionId(number=2, digest="b" * 64), progress=progress, **more)
        return msgspec.structs.replace(found, proposal=proposal)

    settings.report = with_proposal


def test_each_node_is_shown_while_somebody_applies_a_change_on_another_node(tmp_path):
    async def story(console, ask):
        refusals = {"web1": (f"no eth7 {HOSTILE}",)}
        proposed(settings_of(console, "web2"), ProposalProgress.PREPARING, waits_for=("web3",), refusals=refusals)
        _, _, page = await ask("GET", "/settings/part")
        assert "<strong>web1</strong>: refuses it<br>no eth7 &lt;script&gt;" in page
        assert "<strong>web2</strong>: has checked it, and agrees" in page
        assert "<strong>web3</strong>: checks it" in page
        assert HOSTILE not in page

    told(tmp_path, story, role=AccessRole.MONITOR)


def test_a_page_that_is_open_is_told_when_somebody_else_applies_a_change(tmp_path):
    async def story(console, ask):
        async with ask.session.get(console.url("/live/settings")) as stream:
            await until_part(stream, "settings", "changed")
            proposed(settings_of(console, "web2"), ProposalProgress.SETTLED)
            # At the beginning each node is news; what comes after its look is about the change.
            for _ in console.nodes:
                await until_part(stream, "settings", "changed")
            _, _, page = await ask("GET", "/settings/part")
            assert "<strong>web2</strong>: goes by it" in page

    told(tmp_path, story)
