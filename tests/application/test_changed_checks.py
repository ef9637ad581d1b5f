"""Checks that run while the farm file changes: which of them notice."""

import asyncio
import contextlib
import os
from pathlib import Path

from waiting import until

from hcsidecar.application.checking import Checking
from hcsidecar.core.application.check_changes import check_changes
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.farmfile.farm_file import CommandCheck, CustomCheck, TcpCheck
from hcsidecar.farmfile.places import Places

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Server:
    """Counts the connections of checks."""

    def __init__(self):
        self.calls = 0

    @contextlib.asynccontextmanager
    async def listening(self):
        async def count(_reader, writer):
            self.calls += 1
            writer.close()

        server = await asyncio.start_server(count, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


class Checks:
    """Checks that run, and what they report."""

    def __init__(self, directory, *checks):
        self.reports = []
        self._places = Places.beside(directory / "farm.toml")
        self._checks = checks
        self.checking = Checking(
            checks,
            report=lambda name, complaint: self.reports.append((name, complaint)),
            places=self._places,
            environment=ENVIRONMENT,
        )

    def change(self, *checks, places=None):
        self._places = places or self._places
        changes = check_changes(self._checks, checks)
        self._checks = checks
        self.checking.reconfigure(
            checks, begun=changes.begun, adjusted=changes.adjusted, places=self._places, environment=ENVIRONMENT
        )

    def of(self, name):
        return [complaint for reporter, complaint in self.reports if reporter == name]

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.checking.run())
        self.checking.begin(1)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                await task


def tcp(port, name="APP", **options):
    return TcpCheck(type="tcp", name=name, address="127.0.0.1", port=port, **({"interval": "1h"} | options))


def program(directory, name, text):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def command(name="QUEUE", program="bin/check", **options):
    return CommandCheck(type="command", name=name, command=[program], **({"interval": "1h"} | options))


def test_a_check_that_is_as_before_is_not_disturbed_by_a_new_one_and_goes_on_when_that_ends(tmp_path):
    async def scene():
        async with (
            Server().listening() as app,
            Server().listening() as other,
            Checks(tmp_path, tcp(app.port)).running() as checks,
        ):
            await until(lambda: app.calls == 1 and checks.of("APP") == [None], what="the first attempt")
            checks.change(tcp(app.port), tcp(other.port, "NEW", interval=0.01))
            await until(lambda: checks.of("NEW")[-1:] == [None], what="the new check passing")
            checks.change(tcp(app.port))
            told = len(checks.of("NEW"))
            checks.change(tcp(app.port), tcp(other.port, "LAST"))
            await until(lambda: checks.of("LAST"), what="another one")
            assert (len(checks.of("NEW")), app.calls) == (told, 1)

    asyncio.run(scene())


def test_other_times_count_at_once_and_with_what_has_been_found(tmp_path):
    async def scene():
        async with Server().listening() as app:
            slow = {"pending_interval": "1h", "rise": 1, "fall": 3}
            async with Checks(tmp_path, tcp(app.port, **slow)).running() as checks:
                await until(lambda: checks.of("APP") == [None], what="passing")
                checks.change(tcp(app.port, **slow | {"interval": 0.01}))
                await until(lambda: len(checks.of("APP")) > 3, what="attempts at the new interval")
                assert set(checks.of("APP")) == {None}

    asyncio.run(scene())


def test_a_check_of_another_port_begins_anew_and_needs_as_many_failures_as_any(tmp_path):
    async def scene():
        async with Server().listening() as app, Server().listening() as closed:
            pass
        async with Server().listening() as app:
            often = {"interval": 0.01, "pending_interval": 0.01, "rise": 1, "fall": 3}
            async with Checks(tmp_path, tcp(app.port, **often)).running() as checks:
                await until(lambda: checks.of("APP")[-1:] == [None], what="passing")
                checks.change(tcp(closed.port, **often))
                checks.reports.clear()
                await until(lambda: "connection refused" in checks.of("APP"), what="failing")
                assert checks.of("APP")[:3] == [UNCHECKED, UNCHECKED, "connection refused"]

    asyncio.run(scene())


def test_a_program_is_taken_from_the_new_place_and_the_check_keeps_what_it_has_found(tmp_path):
    program(tmp_path / "1", "bin/check", 'echo one >>"$0.ran"')
    program(tmp_path / "2", "bin/check", 'echo two >>"$0.ran"')

    async def scene():
        check = command(interval=0.02, pending_interval=0.02)
        async with Checks(tmp_path / "1", check).running() as checks:
            await until(lambda: checks.of("QUEUE")[-1:] == [None], what="passing")
            checks.change(check, places=Places.beside(tmp_path / "2" / "farm.toml", machine=tmp_path / "1"))
            checks.reports.clear()
            await until((tmp_path / "2/bin/check.ran").exists, what="the program of the new place")
            assert set(checks.of("QUEUE")) <= {None}

    asyncio.run(scene())


def test_the_program_of_a_custom_check_goes_on_with_another_interval_and_ends_with_another_command(tmp_path):
    program(tmp_path, "bin/watch", 'echo $$ >"$0.$1"\nexec sleep 600')

    def custom(*words, interval):
        return CustomCheck(type="custom", name="WATCH", command=words, interval=interval)

    def alive(path: Path):
        try:
            os.kill(int(path.read_text()), 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return False
        return True

    async def scene():
        first, second = tmp_path / "bin/watch.1", tmp_path / "bin/watch.2"
        async with Checks(tmp_path, custom("bin/watch", "1", interval="1s")).running() as checks:
            await until(lambda: alive(first), what="its program")
            assert checks.checking.take_report("WATCH", "up") is None
            pid = first.read_text()
            checks.change(custom("bin/watch", "1", interval="2s"))
            assert checks.checking.take_report("WATCH", "up") is None
            checks.change(custom("bin/watch", "2", interval="2s"))
            assert checks.checking.take_report("WATCH", "up") == "check WATCH does not run now"
            await until(lambda: alive(second), what="the other program")
            assert first.read_text() == pid
            await until(lambda: not alive(first), what="the end of the first program")
            checks.change()
            await until(lambda: not alive(second), what="its end")
            assert checks.checking.take_report("WATCH", "up") == "WATCH is no custom check: there is none"

    asyncio.run(scene())


def test_what_changes_between_two_rounds_is_checked_in_the_next(tmp_path):
    async def scene():
        async with Server().listening() as app, Checks(tmp_path, tcp(app.port, "OLD")).running() as checks:
            await until(lambda: checks.of("OLD"), what="the old check")
            checks.checking.begin(None)
            checks.change(tcp(app.port, "NEW"))
            checks.reports.clear()
            checks.checking.begin(2)
            await until(lambda: checks.of("NEW"), what="the new check")
            assert checks.of("OLD") == []

    asyncio.run(scene())
