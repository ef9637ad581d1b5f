"""The Support page: the snapshot of all nodes, the check, users and API tokens."""

import asyncio
import io
import zipfile

import pytest
from console_nodes import PASSWORD, USERS, console_here
from pages import browser, csrf_in

from hcsidecar.core.access.roles import AccessRole


def told(tmp_path, story, *, role=AccessRole.ADMIN):
    async def run():
        async with console_here(tmp_path) as console, browser(console, role) as ask:
            return await story(console, ask)

    return asyncio.run(run())


def test_the_snapshot_is_one_archive_with_a_part_of_each_node(tmp_path):
    async def story(console, ask):
        async with ask.session.get(console.url("/support/snapshot")) as response:
            assert response.status == 200
            assert response.headers["Content-Disposition"].startswith('attachment; filename="apache-')
            content = await response.read()
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            assert opened.testzip() is None
            assert "README.txt" in opened.namelist()
            readme = opened.read("README.txt").decode()
        assert all(name in readme for name in ("web1", "web2", "web3"))

    told(tmp_path, story, role=AccessRole.CONTROL)


def test_a_node_that_does_not_answer_is_named_in_the_snapshot(tmp_path):
    async def story(console, ask):
        await ask("GET", "/")
        await console.nodes["web3"].stop_tcp()
        async with ask.session.get(console.url("/support/snapshot")) as response:
            with zipfile.ZipFile(io.BytesIO(await response.read())) as opened:
                assert "web3" in opened.read("README.txt").decode()

    told(tmp_path, story)


def test_two_snapshots_at_a_time_are_one_too_many(tmp_path):
    async def story(console, ask):
        answers = await asyncio.gather(*(ask.session.get(console.url("/support/snapshot")) for _ in range(3)))
        assert min(answer.status for answer in answers) == 200
        for answer in answers:
            answer.release()

    told(tmp_path, story)


def test_users_are_added_changed_and_removed(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/support")
        csrf = csrf_in(page)
        form = {"csrf": csrf, "name": "carol", "role": "monitor", "password": "twelve letters and more"}
        status, _, page = await ask("POST", "/support/users", form)
        assert (status, "added user carol" in page) == (200, True)
        _, _, page = await ask("POST", "/support/users/carol/role", {"csrf": csrf, "role": "control"})
        assert console.record[0].present_users["carol"].role is AccessRole.CONTROL
        _, _, page = await ask("POST", "/support/users/carol/remove", {"csrf": csrf})
        assert "carol" not in console.record[0].present_users

    told(tmp_path, story)


def test_a_password_that_is_too_short_and_the_last_admin_are_refused_with_the_reason(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/support")
        csrf = csrf_in(page)
        form = {"csrf": csrf, "name": "carol", "role": "monitor", "password": "short"}
        status, _, page = await ask("POST", "/support/users", form)
        assert (status, "take at least 12" in page) == (400, True)
        _, _, page = await ask("POST", "/support/users/alice/remove", {"csrf": csrf})
        assert 'role="alert"' in page
        assert "alice" in console.record[0].present_users

    told(tmp_path, story)


def test_everybody_may_change_the_own_password_and_no_other_one(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/support")
        assert "/support/users/eve/password" in page
        assert "/support/users/alice" not in page
        csrf = csrf_in(page)
        form = {"csrf": csrf, "password": "another long password"}
        status, _, _ = await ask("POST", "/support/users/alice/password", form)
        assert status == 403
        await ask("POST", "/support/users/eve/password", form)
        async with browser(console) as again:
            status, _, _ = await again("POST", "/sign-in", {"name": USERS[AccessRole.MONITOR], "password": PASSWORD})
            assert status == 401

    told(tmp_path, story, role=AccessRole.MONITOR)


def test_a_token_is_shown_once_works_and_is_revoked(tmp_path):
    async def story(console, ask):
        _, _, page = await ask("GET", "/support")
        csrf = csrf_in(page)
        _, _, page = await ask("POST", "/support/tokens", {"csrf": csrf, "name": "ci", "role": "monitor", "days": "30"})
        token = page.partition('<pre class="output" tabindex="0">')[2].partition("<")[0]
        assert token.startswith("hca1.")
        status, _, _ = await console.ask("GET", "/api/v1/farm", role=None, headers={"Authorization": f"Bearer {token}"})
        assert status == 200
        _, _, page = await ask("GET", "/support")
        assert token not in page
        await ask("POST", f"/support/tokens/{token.split('.')[1]}/revoke", {"csrf": csrf})
        status, _, _ = await console.ask("GET", "/api/v1/farm", role=None, headers={"Authorization": f"Bearer {token}"})
        assert status == 401

    told(tmp_path, story)


@pytest.mark.parametrize("role", [AccessRole.MONITOR, AccessRole.CONTROL], ids=str)
def test_who_is_no_admin_sees_no_users_and_can_make_none_by_hand(tmp_path, role):
    async def story(console, ask):
        _, _, page = await ask("GET", "/support")
        assert "/support/tokens" not in page
        form = {"csrf": csrf_in(page), "name": "mallory", "role": "admin", "password": "twelve letters and more"}
        status, _, _ = await ask("POST", "/support/users", form)
        assert status == 403
        assert "mallory" not in console.record[0].present_users

    told(tmp_path, story, role=role)
