"""A program: takes a revision as a daemon does, or starts after it was settled, and is killed at every step of it.

After each a start brings the operator's files up to the settled revision, and no file counts as edited. Prints how
often it was killed.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from settings.farm_here import FARM
from settings.killing import killed_at_every_step
from settings.revisions import revision

from hcsidecar.core.settings.agreement import SettingsRecord
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.daemon.settled_settings import start_settings
from hcsidecar.farmfile.loading import see
from hcsidecar.net.keyring import Keyring
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.operator_files import bring_up_to
from hcsidecar.settings.store import RevisionStore
from hcsidecar.settings.working_copy import edits

DIRECTORY = Path(sys.argv[1])
ETC = DIRECTORY / "etc"
STATE = DIRECTORY / "settings"
SCRIPT = b"#!/bin/sh\n"
SCRIPTS = ("bin/start", "bin/stop")
OLD = {FARM_FILE: FARM.encode(), "bin/start": SCRIPT, "bin/stop": SCRIPT, "bin/old": SCRIPT}
NEW = {FARM_FILE: FARM.encode() + b"# new\n", "bin/start": SCRIPT + b"true\n", "bin/stop": SCRIPT}
FIRST = revision(1, OLD, executable=SCRIPTS)
SECOND = revision(2, NEW, executable=SCRIPTS, parents=(FIRST.id.digest,))
FARM_DIRECTORY = FarmDirectory(ETC / FARM_FILE)


def make_ready() -> None:
    """Have a node that goes by the first revision, and has stored the second."""
    for path in (ETC, STATE):
        shutil.rmtree(path, ignore_errors=True)
    ETC.mkdir()
    (ETC / "farm.key").write_bytes(KEY)
    (ETC / "farm.key").chmod(0o600)
    store = RevisionStore(STATE)
    store.save(FIRST, OLD)
    store.save_record(SettingsRecord(settled=FIRST.id, highest=1))
    bring_up_to(store, store.load(FIRST.id), FARM_DIRECTORY)
    store.save(SECOND, NEW)


def settle() -> None:
    """Settle the second, as the daemon does."""
    store = RevisionStore(STATE)
    store.save_record(SettingsRecord(settled=SECOND.id, ancestors=(FIRST.id,), highest=2))
    bring_up_to(store, store.load(SECOND.id), FARM_DIRECTORY)
    store.prune({SECOND.id})


def start() -> None:
    """Start, as the next daemon does."""
    start_settings(ETC / FARM_FILE, see(ETC / FARM_FILE), STATE)


def look() -> None:
    """Look at what a kill has left, after a start."""
    begun = start_settings(ETC / FARM_FILE, see(ETC / FARM_FILE), STATE)
    settled = SECOND if begun.record.settled == SECOND.id else FIRST
    assert [event.message for event in begun.events if event.level.value != "info"] == [], begun.events
    assert edits(FARM_DIRECTORY, settled) == ()
    assert not list(ETC.rglob("*.unapplied"))
    make_ready()


def only_settled() -> None:
    """Have the second settled, and the files of the first."""
    make_ready()
    RevisionStore(STATE).save_record(SettingsRecord(settled=SECOND.id, ancestors=(FIRST.id,), highest=2))


def look_after_start() -> None:
    """Look at what a start that was killed has left."""
    look()
    only_settled()


DIRECTORY.mkdir(exist_ok=True)
Keyring.create(DIRECTORY / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC)).write(replace=False)
KEY = (DIRECTORY / "farm.key").read_bytes()
make_ready()
killed = killed_at_every_step(settle, look)
only_settled()
killed += killed_at_every_step(start, look_after_start)
sys.stdout.write(f"{killed}\n")
