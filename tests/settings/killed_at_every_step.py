"""A program: a process that saves revisions is killed at its first step on the file system, the next at its second, …

After each the store is opened again, and has all that it had, and the new revision as a whole or not at all. Prints how
many steps there were, and after how many of them the old and the new record were found.
"""

import os
import signal
import sys
from pathlib import Path

from settings.revisions import CONTENTS, Record, revision

from hcsidecar.settings.store import KEPT, RevisionStore, StoredRevision

STEPS = {"open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "shutil.rmtree", "tempfile.mkdtemp"}
FIRST = 10


def save_next(directory: Path, kill_at: int) -> None:
    """Save what follows, and be killed before the given step."""
    store = RevisionStore(directory)
    left = kill_at

    def count(event: str, _: object) -> None:
        nonlocal left
        if event not in STEPS:
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    store.save(revision(1), CONTENTS)  # of which only the manifest is kept
    store.save(revision(FIRST + 1), CONTENTS)
    store.save_record(Record(revision(FIRST + 1).id))
    store.prune([revision(FIRST + 1).id])


def look(directory: Path) -> int:
    """Look at what is there; gives the number in the record."""
    store = RevisionStore(directory)
    assert not list(directory.glob(".*")), "something unfinished is left"
    found = store.manifests()
    assert found.problems == (), found.problems
    assert {manifest.number for manifest in found.manifests} >= set(range(1, FIRST + 1))
    record = store.load_record(Record)
    assert isinstance(record, Record), record
    for manifest in [*found.manifests[:KEPT], *(each for each in found.manifests if each.id == record.current)]:
        read = store.load(manifest.id)
        assert isinstance(read, StoredRevision), read
    return record.current.number


def main() -> None:
    """Kill until a process comes to its end."""
    directory = Path(sys.argv[1])
    store = RevisionStore(directory)
    for number in range(1, FIRST + 1):
        store.save(revision(number), CONTENTS)
    store.save_record(Record(revision(FIRST).id))
    store.prune([])
    seen = []
    while True:
        child = os.fork()
        if child == 0:
            save_next(directory, len(seen) + 1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        seen.append(look(directory))
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        store.remove(revision(FIRST + 1).id)
        store.save_record(Record(revision(FIRST).id))
        store.save(revision(FIRST - KEPT + 1), CONTENTS)
        store.prune([])
    sys.stdout.write(f"{len(seen)} {seen.count(FIRST)} {seen.count(FIRST + 1)}\n")


main()
