"""A program: writes a revision over an edited working copy, and is killed at every step.

After each no edit is lost and no file is half of one, and writing again ends what was begun. Prints how often it was
killed.
"""

import shutil
import sys
from pathlib import Path

from settings.killing import killed_at_every_step
from settings.revisions import CONTENTS, revision

from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.working_copy import write_revision

DIRECTORY = Path(sys.argv[1])
EDIT = b"edited"
OLD = CONTENTS | {"old/script": b"goes"}
NEW = {FARM_FILE: b"new", "bin/start": b"new start", "lib/tool": b"new tool"}
FORMER, NEXT = revision(1, OLD), revision(2, NEW)


def make_ready() -> None:
    """Have the former revision, edited."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir()
    write_revision(FarmDirectory(DIRECTORY / FARM_FILE), FORMER, OLD, former=None)
    (DIRECTORY / "bin/start").write_bytes(EDIT)


def write() -> None:
    """Write the new one."""
    done = write_revision(FarmDirectory(DIRECTORY / FARM_FILE), NEXT, NEW, former=FORMER)
    assert done.problems == (), done.problems


def files() -> dict[str, bytes]:
    """Give what is there, without what a killed writer had begun."""
    found = {path.relative_to(DIRECTORY).as_posix(): path for path in DIRECTORY.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not path.name.startswith(".")}


def look() -> None:
    """Look at what a kill has left, end it, and begin afresh."""
    found = files()
    assert EDIT in found.values(), found
    for name, content in found.items():
        assert content in (OLD.get(name), NEW.get(name), EDIT), (name, content)
    assert found[FARM_FILE] == OLD[FARM_FILE] or found.items() >= NEW.items()
    write()
    assert files() == NEW | {"bin/start.unapplied": EDIT}
    make_ready()


make_ready()
sys.stdout.write(f"{killed_at_every_step(write, look)}\n")
