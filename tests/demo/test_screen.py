"""What the demo shows and reports, drawn into text."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hcsidecar.demo.chronicle import Happening
from hcsidecar.demo.judge import PromiseResult, Request, summarise
from hcsidecar.demo.plan import Plan
from hcsidecar.demo.report import StoryStep, document, ending_text, step_text
from hcsidecar.demo.screen import (
    FULL_BAR,
    SHARE_BAR,
    Picture,
    ServerLine,
    VipLine,
    VipPicture,
    bar,
    draw,
    in_ranges,
    plain_text,
)

PLAN = Plan(directory=Path("/demo"), number=0)
UP = ServerLine(name="web1", condition="UP(Ready)", why="", balancer="UP", probe="L7OK/200", per_second=45)
DRAINING = ServerLine(
    name="web2",
    condition="UP(Ready), draining",
    why="drained",
    balancer="NOLB",
    probe="L7OKC/404",
    per_second=0,
)
DEAD = ServerLine(name="web3", condition="dead", why="silent for 2 s", balancer="DOWN", probe="L4CON", per_second=0)
PICTURE = Picture(
    servers=(UP, DRAINING, DEAD),
    chosen="web2",
    requests=1234,
    failed=26,
    failed_per_second=4,
    longest_gap=0.0411,
    since=100,
    happenings=tuple(
        Happening(at=100 + number, origin="haproxy", text=f"line {number}", grave=False) for number in range(50)
    ),
)
BRIDGED = Plan(directory=Path("/demo"), number=0, bridged=True)
DIRECTING = VipLine(
    share=1 / 3, power=1, director=True, per_second=36, clients=tuple(f"198.51.100.{101 + index}" for index in range(8))
)
TAKING_ALL = VipLine(share=1, power=4, director=False, per_second=108, clients=("198.51.100.124",))
NONE = VipLine(share=0, power=1, director=False, per_second=0, clients=())
WITH_VIP = replace(
    PICTURE,
    servers=(replace(UP, vip=DIRECTING), replace(DRAINING, vip=NONE), replace(DEAD, vip=TAKING_ALL)),
    vip=VipPicture(address="198.51.100.50", requests=4321, failed=2, failed_per_second=1, lost=3, inside=4711),
)


def drawn(picture, *, height=24, width=120, plan=PLAN):
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(draw(picture, plan, height=height))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("height", [16, 24, 60])
def test_the_picture_with_a_virtual_ip_fills_the_terminal_too(height):
    assert len(drawn(WITH_VIP, height=height, plan=BRIDGED)) == height


def test_the_picture_tells_of_every_server_what_it_does_for_the_virtual_ip():
    lines = drawn(WITH_VIP, plan=BRIDGED)
    assert lines[0].split()[-3:] == ["clients", "of", "198.51.100.50"]
    assert lines[1].split() == [
        *("web1*", "UP(Ready)", "████", "33%", "1", "UP", "L7OK/200", "45", "36"),
        "101–108",
    ]
    assert lines[2].split()[2:] == ["UP(Ready),", "draining", "0%", "1", "NOLB", "L7OKC/404", "0", "0", "drained"]
    assert lines[3].split()[2:5] == ["█" * SHARE_BAR, "100%", "4"]
    assert lines[3].split()[-6:] == ["108", "124", "silent", "for", "2", "s"]
    assert lines[5:7] == [
        "client of HAProxy : 1234 requests, 26 failed (4/s now), longest gap 41 ms",
        "clients of the VIP: 4321 requests, 2 failed (1/s now), 3 kept connections broke",
    ]


def test_the_footer_tells_how_to_look_at_the_virtual_ip():
    text = "\n".join(drawn(WITH_VIP, plan=BRIDGED)[-4:])
    for part in (BRIDGED.front_url, "explain 198.51.100.101 --config", "inside web2: nsenter --net --target 4711"):
        assert part in text


def test_the_keys_for_the_virtual_ip_are_told_where_there_is_one():
    assert "f freeze daemon  h hang web server" in "\n".join(drawn(WITH_VIP, plan=BRIDGED))
    assert "f freeze daemon" not in "\n".join(drawn(PICTURE))


@pytest.mark.parametrize("height", [16, 24, 60])
def test_the_picture_fills_the_terminal_and_no_more(height):
    assert len(drawn(PICTURE, height=height)) == height
    assert len(drawn(replace(PICTURE, happenings=()), height=height)) == height


def test_long_lines_are_cut_and_not_wrapped():
    long = Happening(at=101, origin="haproxy", text="word " * 100, grave=True)
    lines = drawn(replace(PICTURE, happenings=[long], servers=(UP, DRAINING, replace(DEAD, why="why " * 100))))
    assert len(lines) == 24
    assert max(map(len, lines)) <= 120


def test_the_picture_tells_of_every_server_what_farm_and_haproxy_say():
    lines = drawn(PICTURE)
    assert lines[1].split() == ["web1", "UP(Ready)", "UP", "L7OK/200", "45", "█" * 18]
    assert lines[2].split() == [
        "▶",
        "web2",
        "UP(Ready),",
        "draining",
        "NOLB",
        "L7OKC/404",
        "0",
        "drained",
    ]
    assert lines[3].split() == ["web3", "dead", "DOWN", "L4CON", "0", "silent", "for", "2", "s"]
    assert lines[5] == "client: 1234 requests, 26 failed (4/s now), longest gap 41 ms"


def test_the_picture_shows_the_latest_of_what_happened():
    text = "\n".join(drawn(PICTURE))
    assert "   49.0 s  haproxy  line 49" in text
    assert "line 0\n" not in text


def test_the_footer_tells_keys_pages_and_commands():
    text = "\n".join(drawn(PICTURE)[-3:])
    for part in ("s stop gently", "k kill -9", "q quit", PLAN.front_url, PLAN.stats_url, "/health", "hcsidecar status"):
        assert part in text


def test_without_keys_the_footer_does_not_offer_any():
    text = "\n".join(drawn(replace(PICTURE, chosen=None)))
    assert "stop gently" not in text
    assert "▶" not in text
    assert "Ctrl-C quits" in text


@pytest.mark.parametrize(
    ("part", "drawing"), [(0, ""), (1, "█" * FULL_BAR), (3, "█" * FULL_BAR), (1 / FULL_BAR / 2, "▌"), (0.5, "█" * 12)]
)
def test_a_bar_is_as_long_as_the_part_is_large(part, drawing):
    assert bar(part) == drawing


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([4], "4"), ([4, 5], "4 5"), ([6, 5, 4], "4–6"), ([1, 3, 4, 5, 9, 10], "1 3–5 9 10")],
)
def test_clients_in_a_row_are_told_as_a_range(numbers, text):
    assert in_ranges(numbers) == text


def test_a_picture_fits_into_a_line():
    assert plain_text(replace(PICTURE, failed_per_second=0)) == (
        "web1 UP(Ready) 45/s, web2 UP(Ready), draining 0/s, web3 dead 0/s; 1234 requests, 26 failed, longest gap 41 ms"
    )


def test_a_picture_with_a_virtual_ip_fits_into_a_line_too():
    assert plain_text(WITH_VIP) == (
        "web1 UP(Ready) 45/s (8 clients, 36/s), web2 UP(Ready), draining 0/s (0 clients, 0/s), "
        "web3 dead 0/s (1 clients, 108/s); "
        "through HAProxy: 1234 requests, 26 failed (4/s now), longest gap 41 ms; "
        "through the VIP: 4321 requests, 2 failed (1/s now), 3 kept connections broke"
    )


def step(*, kept=True):
    requests = [
        Request(began=0.998, ended=1, server="web1", complaint=None),
        Request(began=1.5, ended=1.51, server=None, complaint="503"),
        Request(began=1.996, ended=2, server="web1", complaint=None),
    ]
    verdicts = (
        PromiseResult(promise="no request fails", kept=kept, found="1 of 3 failed"),
        PromiseResult(promise="the log shows it", kept=True, found="first line\nsecond line"),
    )
    return StoryStep(
        title="web2 is killed", summary=summarise(requests, begin=0, end=3), verdicts=verdicts, balancer_log=("line",)
    )


def test_a_step_is_told_with_figures_and_verdicts():
    assert step_text(3, step(kept=False)).splitlines() == [
        "3. web2 is killed",
        "   3 requests in 3.0 s, 1 failed (1 × 503); web1 2; longest gap 1000 ms; median 3.0 ms, worst 4 ms",
        "   BROKEN  no request fails: 1 of 3 failed",
        "   kept    the log shows it:",
        "             first line",
        "             second line",
    ]


def with_vip(step):
    lost = Request(began=1, ended=2, server="web2", complaint=None, kept=True, lost="the server hung up")
    return replace(step, vip=summarise([lost], begin=0, end=3))


def test_a_step_tells_of_both_ways_where_there_are_two():
    _, first, second, *_ = step_text(3, with_vip(step())).splitlines()
    assert first.startswith("   through HAProxy: 3 requests in 3.0 s, 1 failed (1 × 503); web1 2; longest gap 1000 ms;")
    assert second.startswith(
        "   through the VIP: 1 requests in 3.0 s, 0 failed; web2 1; 1 kept connections broke; longest gap 2000 ms;"
    )


def test_the_ending_has_a_line_for_each_way():
    assert ending_text([with_vip(step())]).splitlines()[:3] == [
        "What the clients saw       requests failed longest gap  web1  web2",
        "1. web2 is killed  HAProxy        3      1     1000 ms     2     0",
        "                   the VIP        1      0     2000 ms     0     1",
    ]


def test_the_ending_sums_up_what_the_client_saw():
    assert ending_text([step(), step()]).splitlines() == [
        "What the client saw requests failed longest gap  web1",
        "1. web2 is killed          3      1     1000 ms     2",
        "2. web2 is killed          3      1     1000 ms     2",
        "",
        "All 4 promises kept.",
    ]


def test_the_ending_repeats_what_was_broken():
    lines = ending_text([step(), step(kept=False)]).splitlines()
    assert lines[-2:] == ["   BROKEN  no request fails: 1 of 3 failed", "1 of 4 promises broken."]


def test_the_report_is_a_document_for_programs():
    found = json.loads(json.dumps(document([step(), with_vip(step(kept=False))], vip="198.51.100.50")))
    assert found["vip"] == "198.51.100.50"
    assert [each["vip"] and each["vip"]["requests"] for each in found["steps"]] == [None, 1]
    assert found["kept"] is False
    assert [each["kept"] for each in found["steps"]] == [True, False]
    assert found["steps"][0]["summary"]["complaints"] == {"503": 1}
    assert found["steps"][0]["verdicts"][0] == {"promise": "no request fails", "kept": True, "found": "1 of 3 failed"}
