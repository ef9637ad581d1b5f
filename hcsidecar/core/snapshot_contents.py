"""What a support snapshot holds: its parts, how large each may be, and the table of contents for a person."""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.plain_text import escaped, on_one_line

CONTENTS: Final = "README.txt"
INDEX: Final = "snapshot.json"
FORMAT: Final = 1
LARGEST_PART: Final = 2 * 1024 * 1024
"Bytes of one part."
LARGEST_NODE: Final = 6 * 1024 * 1024
"Bytes of all parts of a node."
LARGEST: Final = 64 * 1024 * 1024
"Bytes of all parts of all nodes, before they are compressed."
LARGEST_PACKED: Final = 2_900_000
"Bytes of a node's parts, compressed, for another node: in base64 they fit into an answer of 4 MiB."
_KEPT: Final = "\n\t"
_LARGEST_UNPACKED: Final = 4 * LARGEST_NODE
"Bytes of JSON; a character may take several."
_MOST_PARTS: Final = 200
_PART_NAME: Final = re.compile(r"(?:[a-z][a-z0-9-]{0,30}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a snapshot, or the reason why it is not there."""

    name: str
    "Its path below the node's directory, such as `kernel/network.txt`."
    about: str
    "What it is, for the table of contents."
    text: str = ""
    lacking: str = ""
    "Why it is missing, or what is missing of it; empty if nothing is."
    seconds: float = 0.0
    "How long it took to get."


class NodeParts(msgspec.Struct, frozen=True, kw_only=True):
    """All that could be had of a node, the most important part first; `GET /api/v1/snapshot` has it compressed."""

    node: str
    parts: tuple[Part, ...]
    answered: bool
    "Its daemon answered."


class PackedParts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a node for another one: `GET /api/v1/snapshot`."""

    node: str
    packed: bytes
    "NodeParts as JSON, compressed with zlib."


class Cut(NamedTuple):
    """A text within its limit."""

    text: str
    left_out: int
    "Bytes."


def _size(count: int) -> str:
    for unit, size in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def cut(text: str, most: int, *, keep_end: bool) -> Cut:
    """Cut a text to so many bytes of UTF-8, at the end of a line if there is one: the beginning, or the end is kept."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return Cut(raw.decode(), 0)
    if keep_end:
        kept = raw[len(raw) - most :]
        line = kept.find(b"\n") + 1
        # A line that is cut in the middle says less than it seems to.
        kept = kept[line:] if line and line < len(kept) else kept
    else:
        kept = raw[:most]
        kept = kept[: kept.rfind(b"\n") + 1] or kept
    return Cut(kept.decode("utf-8", "ignore"), len(raw) - len(kept))


def limited(part: Part, most: int, *, keep_end: bool = False) -> Part:
    """Return a part within a limit in bytes, which says what is left out; its text can be shown on a terminal."""
    found = cut(escaped(part.text.replace("\r\n", "\n"), beside=_KEPT), max(0, most), keep_end=keep_end)
    if not found.left_out:
        return msgspec.structs.replace(part, text=found.text)
    which = "the oldest" if keep_end else "the last"
    why = f"{which} {found.left_out} bytes are left out: it may have {most}"
    lacking = f"{part.lacking}; {why}" if part.lacking else why
    return msgspec.structs.replace(part, text=found.text, lacking=lacking)


class PackedError(ValueError):
    """What another node tells is not a snapshot; the text says why."""


def pack(node: NodeParts, *, most: int = LARGEST_PACKED) -> bytes:
    """Return the parts compressed, in at most so many bytes: the less important ones are cut for it."""
    room = sum(len(part.text.encode()) for part in node.parts)
    while len(packed := zlib.compress(msgspec.json.encode(node))) > most and room:
        room = room * 2 // 3
        node = msgspec.structs.replace(node, parts=fitted(node.parts, room))
    return packed


def unpack(packed: bytes, *, node: str, room: int) -> NodeParts:
    """Return the parts that another node tells of itself, within `room` bytes. Raise PackedError."""
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(packed, _LARGEST_UNPACKED)
        told = read_json(content, NodeParts)
    except (zlib.error, JsonError) as error:
        raise PackedError(f"it is not in a form that this version understands: {error}") from None
    parts = [part for part in told.parts[:_MOST_PARTS] if _PART_NAME.fullmatch(part.name)]
    return NodeParts(node=node, parts=fitted(parts, room), answered=True)


def is_log(name: str) -> bool:
    """Return whether the end of a part says more than its beginning."""
    return name.startswith(("events.", "runs/")) or name == "kernel/log.txt"


def fitted(parts: Iterable[Part], most: int) -> tuple[Part, ...]:
    """Return the parts, most important first, all within `most` bytes, and none with more than a third of them."""
    kept = []
    largest = min(LARGEST_PART, most // 3)
    for part in parts:
        one = limited(part, min(most, largest), keep_end=is_log(part.name))
        most -= len(one.text.encode())
        kept.append(one)
    return tuple(kept)


def room_for_each(nodes: int) -> int:
    """Return the bytes that each of so many nodes may have."""
    return min(LARGEST_NODE, LARGEST // max(1, nodes))


def members(nodes: Sequence[NodeParts]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the files in the archive, but for the table of contents."""
    for node in nodes:
        for part in node.parts:
            if part.text:
                yield f"{node.node}/{part.name}", part.text


def index(nodes: Sequence[NodeParts], *, made_at: float, version: str) -> dict[str, object]:
    """Return the table of contents for programs: snapshot.json, whose keys are only ever added to."""
    return {
        "format": FORMAT,
        "made_at": made_at,
        "version": version,
        "nodes": {
            node.node: {
                "answered": node.answered,
                "parts": [
                    {
                        "name": part.name,
                        "about": part.about,
                        "bytes": len(part.text.encode()),
                        "lacking": part.lacking,
                        "seconds": round(part.seconds, 3),
                    }
                    for part in node.parts
                ],
            }
            for node in nodes
        },
    }


_HOW_TO_READ: Final = (
    "Secrets are replaced by (hidden): those of the key file, of variables with secret names, of URLs, of files",
    "with passwords, tokens and private keys. Names, addresses and the output of scripts are in it:",
    "look through it before you pass it on.",
    "",
    f"Limits, before compression: {_size(LARGEST_PART)} for a file, {_size(LARGEST_NODE)} for a node,",
    f"{_size(LARGEST)} in all. The oldest lines of logs are left out first.",
    "",
    "The events of all nodes by time: hcsidecar snapshot --read FILE",
)


def contents(nodes: Sequence[NodeParts], *, made_at: str, by: str, notes: Sequence[str] = ()) -> str:
    """Return the table of contents for a person. `made_at` is when and `by` with what it was made."""
    lines = [
        "Support snapshot of hcsidecar",
        "",
        f"Made {made_at} by {by}.",
        "",
        *_HOW_TO_READ,
        "",
        *([*notes, ""] if notes else []),
    ]
    for node in nodes:
        lines += _of_node(node)
    return "\n".join(on_one_line(line) if line.strip() and not line.startswith(" ") else line for line in lines) + "\n"


def _of_node(node: NodeParts) -> Iterator[str]:
    yield f"{node.node}{'' if node.answered else ': its daemon did not answer'}"
    there = [part for part in node.parts if part.text]
    width = max((len(part.name) for part in there), default=0)
    for part in there:
        yield f"  {node.node}/{part.name:<{width}}  {_size(len(part.text.encode())):>9}  {on_one_line(part.about)}"
        if part.lacking:
            yield f"  {'':{len(node.node) + 1 + width}}  {'':>9}  not complete: {on_one_line(part.lacking)}"
    missing = [part for part in node.parts if not part.text]
    if missing:
        yield "  missing:"
        for part in missing:
            why = on_one_line(part.lacking) or "there is nothing in it"
            yield f"    {node.node}/{part.name}: {on_one_line(part.about)}: {why}"
    yield ""


def lacking(nodes: Sequence[NodeParts]) -> Mapping[str, dict[str, str]]:
    """Return by node and part what is missing, and why."""
    return {node.node: {part.name: part.lacking for part in node.parts if part.lacking} for node in nodes}
