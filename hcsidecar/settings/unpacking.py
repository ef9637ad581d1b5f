"""Writes the files of a revision into a new directory, for this user only."""

import os
from collections.abc import Mapping
from pathlib import Path

from hcsidecar.core.settings.revision import BundleError, Manifest, content_problem
from hcsidecar.system.private_file import flush_directory


def content_problems(manifest: Manifest, contents: Mapping[str, bytes]) -> list[str]:
    """Return why these are not the files of the manifest, a sentence for each."""
    problems = []
    for entry in manifest.files:
        content = contents.get(entry.name)
        problem = f"{entry.name} is missing" if content is None else content_problem(entry, content)
        problems += [] if problem is None else [problem]
    return problems


def unpack(manifest: Manifest, contents: Mapping[str, bytes], directory: Path, *, flush: bool = False) -> None:
    """Make the directory and write the files of the manifest into it. With `flush` they are on the disk afterwards.

    Raise BundleError if the contents are not those of the manifest, and OSError if the system refuses; then a part may
    be there. The manifest may come from another node: it has been decoded, so that no name leads out.
    """
    problems = content_problems(manifest, contents)
    if problems:
        raise BundleError(*problems)
    directory.mkdir(mode=0o700)
    made = {directory}
    for entry in manifest.files:
        path = directory / entry.name
        for missing in [above for above in reversed(path.parents) if above.is_relative_to(directory)]:
            if missing not in made:
                missing.mkdir(mode=0o700)
                made.add(missing)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o700 if entry.executable else 0o600)
            file.write(contents[entry.name])
            if flush:
                file.flush()
                os.fsync(file.fileno())
    if flush:
        for each in made:
            flush_directory(each)
