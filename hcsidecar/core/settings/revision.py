"""A revision: the farm file and the files that it names, as one bundle with a number, a digest and its parents.

The manifest lists the files of the bundle. The digest of a revision is the SHA-256 of its encoded manifest, and the
manifest has the SHA-256 of each file, so that equal digests mean equal content down to the last byte.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Final, Self

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.membership.revision_state import MARK_BYTES, RevisionMark

MAX_FILES: Final = 200
MAX_BYTES: Final = 4 * 1024 * 1024
"Of all files of a bundle together."
MAX_NUMBER: Final = 2**53 - 1
"JSON readers keep whole numbers up to here."
FARM_FILE: Final = "farm.toml"
"The name of the farm file within a bundle, whatever its name on a node."
MAX_PARENTS: Final = 64
"Each node of a farm may have gone a way of its own."
LONGEST_MESSAGE: Final = 1000
"Characters of why a revision was made."
_LONGEST_NAME: Final = 512
"Bytes of the name of a file, its directories included."
_LONGEST_COMPONENT: Final = 255
"Bytes: NAME_MAX of Linux."
_LONGEST_MANIFEST: Final = 262_144
"Bytes: 200 files with names of 512 bytes fit."
_SHORT: Final = 8
"Hexadecimal digits of a digest that a person is shown."

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"A SHA-256, as hexadecimal digits."
Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]


class RevisionId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The name of a revision. Two revisions of one number have different digests."""

    number: Number
    digest: Digest

    def __str__(self) -> str:
        return f"revision {self.number} ({self.digest[:_SHORT]})"

    @property
    def mark(self) -> RevisionMark:
        """What a heartbeat says of it."""
        return self.number, bytes.fromhex(self.digest)[:MARK_BYTES]


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a bundle."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_NAME)]
    "Its path relative to the farm file's directory, with `/` between directories."
    executable: bool = False
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
    sha256: Digest


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision is made of, who made it and why."""

    farm: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    number: Number
    parents: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=MAX_PARENTS)] = ()
    """What it follows: none for the first revision of a farm and one that `run --take-file` has made, several where it
    ends a conflict."""
    author: Annotated[str, msgspec.Meta(max_length=200)]
    "Who made it, from where."
    made_at: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
    "Seconds since 1970; 0 where several nodes may make it, each at its own time."
    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)] = ""
    "Why, in the author's words."
    files: Annotated[tuple[FileEntry, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]
    "Sorted by name; FARM_FILE is one of them."

    @classmethod
    def of(
        cls,
        contents: Mapping[str, bytes],
        *,
        executable: Iterable[str] = (),
        farm: str,
        number: int,
        parents: tuple[str, ...],
        author: str,
        made_at: int,
        message: str = "",
    ) -> Self:
        """Return the manifest of these files, by name. Raise BundleError if they are too many, too large or misnamed.

        `executable` names those of the files that may be executed.
        """
        marked = frozenset(executable)
        problems = list(bundle_problems({name: len(content) for name, content in contents.items()}))
        if problems:
            raise BundleError(*problems)
        files = tuple(
            FileEntry(
                name=name,
                executable=name in marked,
                size=len(content),
                sha256=sha256(content).hexdigest(),
            )
            for name, content in sorted(contents.items())
        )
        return cls(
            farm=farm,
            number=number,
            parents=parents,
            author=author,
            made_at=made_at,
            message=message,
            files=files,
        )

    @property
    def id(self) -> RevisionId:
        """The name of this revision."""
        return RevisionId(self.number, sha256(self.encoded()).hexdigest())

    def encoded(self) -> bytes:
        """Return the manifest as JSON, the same bytes each time."""
        return msgspec.json.encode(self)

    def has_content_of(self, other: "Manifest") -> bool:
        """Return whether both have the same files, byte for byte."""
        return self.files == other.files


class BundleError(Exception):
    """Files cannot be a bundle: every reason, as a sentence."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def decode_manifest(encoded: bytes) -> Manifest:
    """Return the manifest in these bytes, which may come from the network. Raise BundleError if it is none."""
    if len(encoded) > _LONGEST_MANIFEST:
        raise BundleError(f"the manifest has more than {_LONGEST_MANIFEST} bytes")
    try:
        manifest = read_json(encoded, Manifest)
    except JsonError as error:
        raise BundleError(f"this is not a manifest: {error}") from None
    names = [entry.name for entry in manifest.files]
    problems = list(bundle_problems({entry.name: entry.size for entry in manifest.files}))
    if names != sorted(set(names)):
        problems.append("the files of the manifest are not sorted by name, or one is listed twice")
    if not problems and manifest.encoded() != encoded:
        problems.append("the manifest is not encoded as this version encodes it")
    if problems:
        raise BundleError(*problems)
    return manifest


def content_problem(entry: FileEntry, content: bytes) -> str | None:
    """Return why these bytes are not the file of the manifest; None if they are."""
    if len(content) != entry.size:
        return f"{entry.name} has {len(content)} bytes instead of {entry.size}"
    if sha256(content).hexdigest() != entry.sha256:
        return f"{entry.name} has other content than the manifest says"
    return None


def bundle_problems(sizes: Mapping[str, int]) -> Iterable[str]:
    """Return why files of these sizes, in bytes by name, cannot be a bundle; nothing if they can."""
    if FARM_FILE not in sizes:
        yield f"{FARM_FILE} is missing"
    if len(sizes) > MAX_FILES:
        yield f"it has {len(sizes)} files, and {MAX_FILES} are the most"
    total = sum(sizes.values())
    if total > MAX_BYTES:
        yield f"its files have {total} bytes together, and {MAX_BYTES} are the most"
    for name in sorted(sizes):
        why = name_problem(name)
        if why is not None:
            yield f"{name!r} {why}"
        if any(above in sizes for above in _directories_above(name)):
            yield f"{name!r} lies in a directory that is a file of the bundle"


def _directories_above(name: str) -> Iterable[str]:
    above = name.rpartition("/")[0]
    while above:
        yield above
        above = above.rpartition("/")[0]


def name_problem(name: str) -> str | None:
    """Return why a name cannot be that of a file below the farm file's directory; None if it can.

    Names come from other nodes and become paths, so that none may lead out of the directory.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if len(encoded) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        return "has a control character or a backslash in it"
    for component in name.split("/"):
        if component in ("", ".", ".."):
            return "is not a plain path below the directory of the farm file"
        if len(component.encode()) > _LONGEST_COMPONENT:
            return f"has a component of more than {_LONGEST_COMPONENT} bytes"
    return None
