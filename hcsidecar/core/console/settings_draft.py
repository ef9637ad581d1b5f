"""Settings that somebody edits in the browser: the files of a bundle as the fields of a form, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from hcsidecar.core.console.documents import UploadedFile
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.text import NotTomlError, document_in
from hcsidecar.core.settings.revision import FARM_FILE, MAX_FILES

LONGEST_FILE = 1024 * 1024
"Characters of a file that is edited in the browser."
_Texts = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=LONGEST_FILE)], ...], msgspec.Meta(max_length=MAX_FILES)
]
_Names = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=512)], ...], msgspec.Meta(max_length=MAX_FILES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFile:
    """One file of the draft."""

    name: str
    text: str | None
    "None: the file is no text, and stays as it is."
    executable: bool

    @property
    def language(self) -> str:
        """The language by which the editor colours it."""
        if self.name.endswith(".toml"):
            return "toml"
        first = "" if self.text is None else self.text.partition("\n")[0]
        return "python" if self.name.endswith(".py") or ("python" in first and first.startswith("#!")) else "shell"


class DraftForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The draft as a form sends it: names and contents of the files side by side."""

    name: _Names = ()
    former: _Names = ()
    "What each of them was called when the form was made, by which the other fields name it; none: as it is now."
    content: _Texts = ()
    executable: _Names = ()
    "The names of those that are executable."
    kept: _Names = ()
    "The names of files that stay as they are in force, since they are no text."
    removed: _Names = ()
    "The names of files that are to go."
    new_name: Annotated[str, msgspec.Meta(max_length=512)] = ""
    "A file that is to be added, empty."
    message: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    without: _Names = ()
    "Nodes that need not agree: dead ones."
    base: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""
    "The digest of the revision that the draft began with."


def draft_of(form: DraftForm) -> Sequence[DraftFile] | str:
    """Return the files of a form, or why it is not right. Browsers end the lines of a text with CR LF."""
    former = form.former or form.name
    if not len(form.name) == len(form.content) == len(former):
        return "the form has not as many contents as names of files"
    gone = frozenset(form.removed)
    rows = [row for row in zip(form.name, former, form.content, strict=True) if row[1] not in gone]
    kept = [name for name in form.kept if name not in gone]
    names = [*(name.strip() for name, _, _ in rows), *kept]
    added = form.new_name.strip()
    if added in names:
        return f"there is a file {added!r} already"
    if len(set(names)) != len(names):
        return "two files have one name"
    executable = frozenset(form.executable)
    files = [
        DraftFile(name=name.strip(), text=content.replace("\r\n", "\n"), executable=was in executable)
        for name, was, content in rows
    ]
    files += [DraftFile(name=name, text=None, executable=name in executable) for name in kept]
    if added:
        files.append(DraftFile(name=added, text="#!/bin/sh\nset -eu\n", executable=True))
    return in_order(files)


def in_order(files: Sequence[DraftFile]) -> Sequence[DraftFile]:
    """Return the files with the farm file first, the others by name."""
    return sorted(files, key=lambda file: (file.name != FARM_FILE, file.name))


def uploaded(files: Sequence[DraftFile], kept: Mapping[str, bytes]) -> tuple[UploadedFile, ...]:
    """Return the files for the API; `kept` has the contents of those that are no text."""
    return tuple(
        UploadedFile(
            name=file.name,
            content=kept[file.name] if file.text is None else file.text.encode(),
            executable=file.executable,
        )
        for file in files
    )


def text_of(content: bytes) -> str | None:
    """Return the content of a file as text that a browser gives back as it was; None if it is none."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    unusual = any(ord(each) < ord(" ") and each not in "\n\t" for each in text)
    return None if unusual or len(text) > LONGEST_FILE else text


def draft_files(files: Mapping[str, tuple[bytes, bool]]) -> tuple[Sequence[DraftFile], Mapping[str, bytes]]:
    """Return files, with content and whether each is executable by name, as those of a draft, and what is no text."""
    found = [
        DraftFile(name=name, text=text_of(content), executable=executable)
        for name, (content, executable) in files.items()
    ]
    return in_order(found), {file.name: files[file.name][0] for file in found if file.text is None}


def farm_in(files: Sequence[DraftFile]) -> FarmFile | None:
    """Return the farm that the farm file among these files describes; None if it cannot be read, or is not there."""
    text = next((file.text for file in files if file.name == FARM_FILE), None)
    if text is None:
        return None
    try:
        farm = read(document_in(text.encode()))
    except NotTomlError:
        return None
    return farm if isinstance(farm, FarmFile) else None
