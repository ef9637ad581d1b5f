"""A program: saves revisions, and is killed at every step. All that was there is there, and the new one or not.

Prints how often it was killed, and after how many of these the old and the new record were found.
"""

import sys
from pathlib import Path

from settings.killing import killed_at_every_step
from settings.revisions import CONTENTS, Record, revision

from hcsidecar.settings.store import KEPT, RevisionStore, StoredRevision

FIRST = 10
DIRECTORY = Path(sys.argv[1])


def save_next() -> None:
    """Save what follows, and give an old revision its files again."""
    store = RevisionStore(DIRECTORY)
    store.save(revision(1), CONTENTS)
    store.save(revision(FIRST + 1), CONTENTS)
    store.save_record(Record(revision(FIRST + 1).id))
    store.prune([revision(FIRST + 1).id])


def look() -> int:
    """Look at what is there, and give the number in the record."""
    store = RevisionStore(DIRECTORY)
    assert not list(DIRECTORY.glob(".*")), "something unfinished is left"
    found = store.manifests()
    assert found.problems == (), found.problems
    assert {manifest.number for manifest in found.manifests} >= set(range(1, FIRST + 1))
    record = store.load_record(Record)
    assert isinstance(record, Record), record
    for manifest in [*found.manifests[:KEPT], *(each for each in found.manifests if each.id == record.current)]:
        read = store.load(manifest.id)
        assert isinstance(read, StoredRevision), read
    return record.current.number


def make_ready() -> None:
    """Have as many revisions as a farm has after a while."""
    store = RevisionStore(DIRECTORY)
    store.remove(revision(FIRST + 1).id)
    store.save(revision(FIRST - KEPT + 1), CONTENTS)
    store.prune([])
    store.save_record(Record(revision(FIRST).id))


def main() -> None:
    """Kill until a process comes to its end."""
    seen = []

    def look_and_make_ready() -> None:
        seen.append(look())
        make_ready()

    for number in range(1, FIRST + 1):
        RevisionStore(DIRECTORY).save(revision(number), CONTENTS)
    make_ready()
    killed = killed_at_every_step(save_next, look_and_make_ready)
    sys.stdout.write(f"{killed} {seen.count(FIRST)} {seen.count(FIRST + 1)}\n")


main()
