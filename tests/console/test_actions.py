"""The buttons of the Farm page: what they say before, that they do it, and who may press them."""

import asyncio
import re

import pytest
from console_nodes import console_here
from pages import browser, csrf_in

from hcsidecar.api.control import NodeCommand
from hcsidecar.core.access.roles import AccessRole


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, **more) as console:
            return await story(console)

    return asyncio.run(run())


def test_a_button_says_what_it_will_do_and_does_it(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.CONTROL) as ask:
            _, _, page = await ask("GET", "/")
            assert "/farm/act?action=stop&amp;node=web2" in page
            _, _, asked = await ask("GET", "/farm/act?action=stop&node=web2", HX_Request="true")
            assert "web2 drains, up to 10 s, then its application stops." in asked
            assert "Then 2 of 3 nodes are Ready." in asked
            assert "force" not in asked
            form = {"csrf": csrf_in(asked), "action": "stop", "node": "web2"}
            status, _, done = await ask("POST", "/farm/act", form, HX_Request="true")
            assert status == 200
            assert "web2" in done
        assert console.nodes["web2"].control.acts == [(NodeCommand.STOP, False, "bob@web1 (console, 127.0.0.1)")]
        assert console.nodes["web1"].control.acts == console.nodes["web3"].control.acts == []

    told(tmp_path, story)


def test_what_leaves_too_few_asks_again_and_takes_a_tick(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.CONTROL) as ask:
            _, _, asked = await ask("GET", "/farm/act?action=stop", HX_Request="true")
            assert "Nobody would serve clients." in asked
            form = {"csrf": csrf_in(asked), "action": "stop", "node": ""}
            _, _, again = await ask("POST", "/farm/act", form, HX_Request="true")
            assert "Do it all the same" in again
            assert all(node.control.acts == [] for node in console.nodes.values())
            await ask("POST", "/farm/act", {**form, "force": "true"}, HX_Request="true")
            assert all(len(node.control.acts) == 1 for node in console.nodes.values())

    told(tmp_path, story)


def test_a_power_is_given(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.CONTROL) as ask:
            _, _, asked = await ask("GET", "/farm/act?action=power&node=web3")
            assert 'name="power"' in asked
            form = {"csrf": csrf_in(asked), "action": "power", "node": "web3", "power": "3"}
            await ask("POST", "/farm/act", form)
        ((power, share, _by),) = console.nodes["web3"].control.powers_set
        assert (power, share) == (3, None)

    told(tmp_path, story)


def test_a_rolling_command_is_begun_shown_and_cancelled(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.CONTROL) as ask:
            _, _, asked = await ask("GET", "/farm/act?action=rolling-restart")
            assert "Meanwhile 2 of 3 nodes are Ready." in asked
            form = {"csrf": csrf_in(asked), "action": "rolling-restart", "node": ""}
            await ask("POST", "/farm/act", form)
            _, _, page = await ask("GET", "/")
            path = re.search(r'action="(/farm/rolling/[0-9a-f]{16}/cancel)"', page)[1]
            assert "in progress" in page
            _, _, ended = await ask("POST", path, {"csrf": csrf_in(page)}, HX_Request="true")
            assert "cancelled by bob" in ended

    told(tmp_path, story)


def test_who_may_only_look_sees_no_button_and_cannot_make_the_request_by_hand(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            assert "/farm/act" not in page
            form = {"csrf": csrf_in(page), "action": "stop", "node": "web2"}
            status, _, text = await ask("POST", "/farm/act", form)
            assert status == 403
            assert "this takes the role control" in text
        assert console.nodes["web2"].control.acts == []

    told(tmp_path, story)


@pytest.mark.parametrize("query", ["action=stop&node=web9", "action=explode", "action=power&power=-1", "node=web1"])
def test_an_action_that_there_is_not_is_refused(tmp_path, query):
    async def story(console):
        async with browser(console, AccessRole.CONTROL) as ask:
            status, _, _ = await ask("GET", f"/farm/act?{query}")
            assert status in (400, 404)

    told(tmp_path, story)
