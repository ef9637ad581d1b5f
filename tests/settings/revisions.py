"""Revisions made by hand."""

import msgspec

from hcsidecar.core.settings.revision import FARM_FILE, Manifest, RevisionId

CONTENTS = {FARM_FILE: b"[farm]\n", "bin/start": b"#!/bin/sh\n", "bin/lib/common.sh": b"x=1\n"}


def revision(number=1, contents=CONTENTS, *, executable=("bin/start",), parents=(), message=""):
    return Manifest.of(
        contents,
        executable=executable,
        farm="apache",
        number=number,
        parents=parents,
        author="root on web1",
        made_at=1_790_000_000 + number,
        message=message,
    )


class Record(msgspec.Struct):
    """What a node could keep of its promises."""

    current: RevisionId
    confirmed: bool = False
