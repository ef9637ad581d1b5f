"""The Farm page: who takes which part of each share, and the chart of the last hour."""

import asyncio
import re

from console_nodes import console_here
from msgspec.structs import replace
from pages import browser, until_part

from hcsidecar.core.access.roles import AccessRole

NAMES = ("web1", "web2")


def told(tmp_path, story):
    async def run():
        async with console_here(tmp_path, names=NAMES) as console:
            return await story(console)

    return asyncio.run(run())


def share_virtual_ip(console, view=NAMES):
    """Let the nodes tell of a virtual IP that those of the view serve."""
    for name, node in console.nodes.items():
        control = node.control
        control.row(name, powers={"WEB": 1})
        control.vips = ("192.0.2.50",)
        control.layer_two_document = {
            "farm": "apache",
            "node": name,
            "view": view,
            "filter": {"name": "tc", "why": "tried"},
            "interface": "eth0",
            "macs": {},
            "delivery": "directed",
            "lease_open": True,
            "vips": [{"address": "192.0.2.50", "director": view[0], "mac": None}],
            "shares": [{"name": "WEB", "mine": 0, "pending": 0}],
        }


def test_the_page_shows_who_takes_which_part_and_who_is_director(tmp_path):
    async def story(console):
        share_virtual_ip(console)
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            takes = dict(re.findall(r'<li data-takes="(\w+)">.*?(\d+)\s%</li>', page, re.DOTALL))
            assert list(takes) == ["web1", "web2"]
            assert sum(map(int, takes.values())) in (99, 100, 101)
            assert "director: web1" in page
            patterns = re.findall(r'<pattern id="(look-\d)"', page)
            assert patterns == ["look-0", "look-1"]
            assert set(re.findall(r'height="26" fill="url\(#(look-\d)\)"', page)) == set(patterns)

    told(tmp_path, story)


def test_without_virtual_ips_there_are_no_strips_and_the_chart_shows_whether_nodes_are_ready(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            assert "<pattern" not in page
            assert re.findall(r'<option value="(\w+)"', page) == ["ready", "health"]

    told(tmp_path, story)


def test_a_share_can_be_chosen_for_the_chart_and_each_node_has_a_line_of_its_own(tmp_path):
    async def story(console):
        for node in console.nodes.values():
            facts = node.control.facts
            node.control.facts = lambda facts=facts: replace(facts(), shares=("WEB", "DNS"))
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            options = re.findall(r'<option value="(\w+)"(?: data-share="(\w+)")?', page)
            assert options == [("share", "WEB"), ("share", "DNS"), ("connections", ""), ("ready", ""), ("health", "")]
            lines = re.findall(r'class="line-sample (n\d)" data-dash="([^"]*)"', page)
            assert len(lines) == 2
            assert len({colour for colour, _ in lines}) == len({dash for _, dash in lines}) == 2

    told(tmp_path, story)


def test_the_strips_follow_when_a_node_leaves(tmp_path):
    async def story(console):
        share_virtual_ip(console)
        async with browser(console, AccessRole.MONITOR) as ask:
            _, _, page = await ask("GET", "/")
            assert 'data-takes="web2"' in page
            async with ask.session.get(console.url("/live/farm")) as stream:
                share_virtual_ip(console, view=("web1",))
                part = await until_part(stream, "shares", "web1 100")
                assert 'data-takes="web2"' not in part

    told(tmp_path, story)


def test_the_chart_library_is_loaded_by_the_farm_page_alone(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            for path, wanted in (("/", True), ("/events", False), ("/support", False)):
                _, _, page = await ask("GET", path)
                assert ("uPlot" in page) is wanted, path

    told(tmp_path, story)
