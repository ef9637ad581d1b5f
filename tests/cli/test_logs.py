"""`hcsidecar logs` and `log`: the past from the disk, searched and followed, with a daemon and without one."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_nodes import told
from cli_farm import cli_farm
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.cli.moments import parse_moment
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.store import kept_journal

TWO = {"web1": "127.0.0.1", "web2": "203.0.113.2"}
NOW = datetime(2026, 11, 28, 3, 40, tzinfo=UTC)
RUN = "20261128T034001.123Z_start"


def commanded(story, **settings):
    async def told(farm):
        return await story(farm)

    with cli_farm(**settings) as farm:
        return asyncio.run(told(farm))


def write(journal, message, level=Level.INFO):
    return journal.write(Event(level=level, origin="application", message=message))


def shown(done):
    return [line.split("application: ", 1)[1] for line in done.stdout.splitlines()]


def state(farm, name):
    return farm.socket(name).parent


async def daemon_of_yesterday(farm, name, *texts):
    """Store events as a daemon does that has ended."""
    async with kept_journal(state(farm, name), LogTable(), node=name, log=lambda entry: None) as journal:
        for text in texts:
            write(journal, text)


# Looking for something


def test_more_events_than_a_page_are_shown_and_searched():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for n in range(1500):
                write(nodes["web2"].control.journal, f"event {n}")
            return [
                await farm.give("logs", "--node", "web2", *arguments)
                for arguments in (
                    ["-n", "1200"],
                    ["--since", "1h"],
                    ["--grep", "event 7$"],
                    ["--grep", r"^application: event \d$", "-n", "3"],
                    ["--grep", "EVENT 7"],
                    ["--grep", "(?i)EVENT 77", "--since", "00:00", "-n", "2"],
                    ["--since", "2100-01-01"],
                    ["--until", "2100-01-01", "-n", "1"],
                    ["--until", "1h"],
                )
            ]

    many, since, one, three, none, insensitive, future, before, old = commanded(story, addresses=TWO)
    assert shown(many) == [f"event {n}" for n in range(300, 1500)]
    assert len(shown(since)) == 1500
    assert shown(one) == ["event 7"]
    assert shown(three) == ["event 7", "event 8", "event 9"]
    assert (none.stdout, future.stdout, old.stdout) == ("", "", "")
    assert shown(before) == ["event 1499"]
    assert shown(insensitive) == ["event 778", "event 779"]
    assert {done.exit_code for done in (many, since, one, three, none, insensitive, future, before, old)} == {0}


def test_following_heeds_what_is_looked_for():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            journal = nodes["web1"].control.journal
            write(journal, "needle 0")
            process = await farm.begin(
                *("logs", "-f", "--since", "1h", "--grep", r"needle \d", "--json"), stdout=asyncio.subprocess.PIPE
            )

            async def message():
                return json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["message"]

            assert await message() == "needle 0"
            for n in range(1, 4):
                write(journal, "hay")
                write(journal, f"needle {n}")
                assert await message() == f"needle {n}"
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 10) == 130

    commanded(story)


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
def test_the_api_pages_backwards_and_looks_for_text_and_time(tmp_path, prefix):
    def prepare(nodes):
        for node in nodes.values():
            for n in range(5):
                write(node.control.journal, f"Event {n}")

    answers, _ = told(
        tmp_path,
        *(
            ("GET", f"{prefix}/events?{query}")
            for query in (
                "last=2",
                "grep=event%203",
                "since=1&level=info&grep=APPLICATION",
                "since=4102444800",
                "until=4102444800&last=1",
                "until=1",
                "after=0&grep=t+1",
            )
        ),
        prepare=prepare,
    )
    found = [[event["message"] for event in page["events"]] for _, page in answers]
    assert found == [
        ["Event 3", "Event 4"],
        ["Event 3"],
        [f"Event {n}" for n in range(5)],
        [],
        ["Event 4"],
        [],
        ["Event 1"],
    ]
    assert answers[0][1]["previous"] == answers[0][1]["events"][0]["number"]
    assert answers[1][1]["previous"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "after=1&before=2",
        "grep=%0A",
        f"grep={'x' * 201}",
        "since=soon",
        "since=-1",
        "until=soon",
        "before=x",
        "grep=%ED%A0%80%00",
    ],
)
def test_a_wrong_question_is_refused(tmp_path, query):
    [(status, document)], _ = told(tmp_path, ("GET", f"/api/v1/events?{query}"))
    assert (status, set(document)) == (400, {"reason"})


# Without a daemon


def test_the_stored_events_are_shown_when_the_daemon_is_not_running():
    async def story(farm):
        await daemon_of_yesterday(farm, "web1", "one", "two", "the reason")
        before = sorted(path.name for path in state(farm, "web1").iterdir())
        done = [
            await asyncio.to_thread(farm.give_now, "logs", *arguments)
            for arguments in ([], ["--node", "web1", "-n", "1"], ["--all", "--grep", "reason"])
        ]
        assert sorted(path.name for path in state(farm, "web1").iterdir()) == before
        return done

    alone, one, every = commanded(story, addresses=TWO)
    assert shown(alone) == ["one", "two", "the reason"]
    assert "no daemon of node web1 is running here" in alone.stderr
    assert "web1: showing the events that it has stored in " in alone.stderr
    assert shown(one) == ["the reason"]
    assert (alone.exit_code, one.exit_code) == (0, 0)
    assert shown(every) == ["the reason"]
    assert every.exit_code == 1
    assert "could ask web2" in every.stderr


def test_events_of_a_daemon_that_was_killed_or_hangs_are_read_without_its_lock():
    async def story(farm):
        script = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from hcsidecar.core.events import Event, Level\n"
            "from hcsidecar.core.farmfile.tables import LogTable\n"
            "from hcsidecar.events.store import kept_journal\n"
            "from hcsidecar.events.journal import EventQuery\n"
            "async def main():\n"
            "    async with kept_journal(Path(sys.argv[1]), LogTable(), node='web1', log=lambda e: None) as journal:\n"
            "        journal.write(Event(level=Level.INFO, origin='application', message='last words'))\n"
            "        await journal._store.before(1, wanted=EventQuery(), limit=1)\n"
            "        print('written', flush=True)\n"
            "        await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(state(farm, "web1")), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"written\n"
            hanging = await asyncio.to_thread(farm.give_now, "logs")
        finally:
            process.kill()
            await process.wait()
        return hanging, await asyncio.to_thread(farm.give_now, "logs")

    for done in commanded(story):
        assert (done.exit_code, shown(done)) == (0, ["last words"])


def test_without_a_daemon_and_without_stored_events_it_says_so():
    async def story(farm):
        nothing = await asyncio.to_thread(farm.give_now, "logs")
        (state(farm, "web1") / "events.db").write_text("garbage")
        return nothing, await asyncio.to_thread(farm.give_now, "logs")

    nothing, garbage = commanded(story)
    assert (nothing.exit_code, garbage.exit_code) == (1, 1)
    assert "start it: systemctl start hcsidecar" in nothing.stderr
    assert "its last events cannot be read either: there is no " in nothing.stderr
    assert "cannot be read: file is not a database" in garbage.stderr


def test_following_goes_on_from_stored_events_when_the_daemon_starts():
    async def story(farm):
        await daemon_of_yesterday(farm, "web1", "of yesterday")
        process = await farm.begin(
            "logs", "-f", "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )

        async def line():
            return json.loads(await asyncio.wait_for(process.stdout.readline(), 20))

        assert (await line())["message"] == "of yesterday"
        assert "no daemon of node web1" in (await line())["notice"]
        async with farm.running(["web1"]) as nodes:
            write(nodes["web1"].control.journal, "of today")
            assert (await line())["message"] == "of today"
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 10) == 130

    commanded(story)


# Writing


def test_an_operator_writes_into_the_log_of_a_node():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            for arguments in (
                ["info", "disk", "replaced"],
                ["warning", "one\ntwo\n\n", "--node", "web2", "--origin", "backup"],
                ["error", "x" * 2000],
            ):
                done = await farm.give("log", *arguments)
                assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
            return {name: node.control.journal.after(0).events for name, node in nodes.items()}

    events = commanded(story, addresses=TWO)
    first, long = events["web1"]
    assert (first.level, first.origin, first.message) == (Level.INFO, "operator", "disk replaced (root)")
    assert (len(long.message), long.message[-8:], long.level) == (1000, "x… (root)"[-8:], Level.ERROR)
    [there] = events["web2"]
    assert (there.level, there.origin, there.message) == (Level.WARNING, "backup", "one | two (root@web1)")


def test_a_script_writes_to_the_node_that_runs_it_without_options(tmp_path):
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from cli_farm import app; app()", "log", "info", "starting"),
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(__file__).parents[1]),
                    "HCSIDECAR_RUN": "7",
                    "HCSIDECAR_NODE": "web1",
                    "HCSIDECAR_SOCKET": str(nodes["web1"].socket),
                    "HCSIDECAR_CONFIG": "/nonexistent",
                },
            )
            assert await asyncio.wait_for(process.wait(), 20) == 0
            return nodes["web1"].control.journal.after(0).events

    [event] = commanded(story)
    assert (event.origin, event.message) == ("script", "starting (root)")


def test_without_a_daemon_nothing_is_written_and_that_is_said():
    with cli_farm() as farm:
        done = farm.give_now("log", "info", "to nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no daemon of node web1 is running here" in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"level": "debug", "text": "x"}',
        b'{"level": "info"}',
        b'{"level": "info", "text": ""}',
        b'{"level": "info", "text": "  "}',
        b'{"level": "info", "text": "x", "origin": ""}',
        b'{"level": "info", "text": "x", "origin": "a\\nb"}',
        b'{"level": "info", "text": "x", "more": 1}',
        b'{"level": "info", "text": "\xff"}',
        json.dumps({"level": "info", "text": "x" * 1001}).encode(),
        json.dumps({"level": "info", "text": "x", "by": "x" * 161}).encode(),
    ],
)
@pytest.mark.parametrize("node", ["web1", "web2"])
def test_what_is_no_remark_is_refused(tmp_path, node, body):
    [(status, document)], nodes = told(tmp_path, ("POST", f"/api/v1/nodes/{node}/log", body))
    assert (status, set(document)) == (400, {"reason"})
    assert not nodes[node].control.journal.after(0).events


def test_a_remark_is_one_line_that_steers_no_terminal(tmp_path):
    body = json.dumps({"level": "info", "text": "a\nFAKE \x1b[2J", "by": "somebody"})
    [(status, document)], nodes = told(tmp_path, ("POST", "/api/v1/log", body))
    [entry] = nodes["web1"].control.journal.after(0).events
    assert (status, document["ok"], entry.message) == (200, True, "a\\nFAKE \\x1b[2J (root)")


def test_log_takes_only_post(tmp_path):
    [(status, _)], _ = told(tmp_path, ("GET", "/api/v1/log"))
    assert status == 405


# What the scripts have said


def application(farm, name, run, text):
    directory = farm.directory / name
    directory.mkdir(exist_ok=True)
    (directory / f"{run}.log").write_text(text)
    return directory / f"{run}.log"


def append(path, text):
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("node", ["web1", "web2"])
def test_the_runs_of_scripts_are_listed_and_shown(node):
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]):
            application(farm, node, RUN, "one\x1b[2J\r\n\ttwo\nthree")
            application(farm, node, "20261128T030000.000Z_stop", "")
            return [
                await farm.give("logs", "--application", *arguments, "--node", node)
                for arguments in (
                    [],
                    ["--json"],
                    ["last"],
                    [RUN, "-n", "1"],
                    ["last", "--grep", "t.o"],
                    ["last", "--json"],
                )
            ]

    listed, listed_json, last, one, found, as_json = commanded(story, addresses=TWO)
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["20261128T030000.000Z_stop", RUN]
    assert json.loads(listed_json.stdout.splitlines()[1])["name"] == RUN
    assert last.stdout == "one\\x1b[2J\n\ttwo\nthree\n"
    assert (one.stdout, found.stdout) == ("three\n", "\ttwo\n")
    assert json.loads(as_json.stdout)["text"] == "one\x1b[2J\r\n\ttwo\nthree"


def test_a_run_that_is_not_there_and_a_node_without_runs_are_told():
    async def story(farm):
        async with farm.running(["web1"]):
            return [await farm.give("logs", "--application", *arguments) for arguments in ([], ["last"], ["../x"])]

    nothing, last, escape = commanded(story)
    assert (nothing.exit_code, nothing.stderr) == (0, "web1: no script has run, or no output is kept\n")
    assert (last.exit_code, escape.exit_code) == (1, 1)
    assert "there is no such run" in last.stderr


def test_the_output_of_a_run_is_followed():
    async def story(farm):
        async with farm.running(["web1"]):
            path = application(farm, "web1", RUN, "one\ntwo\n")
            process = await farm.begin("logs", "--application", "last", "-n", "1", "-f", stdout=asyncio.subprocess.PIPE)
            lines = []
            for text in ("three\n", "four\n", None):
                lines.append(await asyncio.wait_for(process.stdout.readline(), 20))
                if text:
                    append(path, text)
            assert lines == [b"two\n", b"three\n", b"four\n"]
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), 10) == 130

    commanded(story)


# Moments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90s", NOW - timedelta(seconds=90)),
        ("2026-11-27T12:00:00Z", datetime(2026, 11, 27, 12, tzinfo=UTC)),
        ("2026-11-27 12:00+02:00", datetime(2026, 11, 27, 10, tzinfo=UTC)),
        ("2026-11-27", datetime(2026, 11, 27).astimezone()),
        ("2026-11-27 12:30", datetime(2026, 11, 27, 12, 30).astimezone()),
    ],
)
def test_a_moment_is_a_duration_ago_or_a_date(text, expected):
    assert parse_moment(text, now=NOW.astimezone()) == expected


def test_a_time_of_day_is_the_last_that_was():
    now = datetime(2026, 11, 28, 3, 40).astimezone()
    assert parse_moment("03:39", now=now) == now - timedelta(minutes=1)
    assert parse_moment("03:41", now=now) == now + timedelta(minutes=1, days=-1)
    assert parse_moment("03:40:00", now=now) == now


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,15}(us|ms|s|m|h|d)", fullmatch=True))
def test_any_other_text_is_no_moment(text):
    try:
        parse_moment(text, now=NOW.astimezone())
    except ValueError as error:
        assert "is no moment" in str(error)  # noqa: PT017 - or it is one
