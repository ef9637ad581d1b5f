"""The parameters of the console's API in the query of a URL: each type is one set of them."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from hcsidecar.core.events import Level
from hcsidecar.core.json_reading import JsonError

MOST_EVENTS = 500
LONGEST_GREP = 200
_HIGHEST = 2**53

Q = TypeVar("Q", bound=msgspec.Struct)

_Number = Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]
_Grep = Annotated[str, msgspec.Meta(max_length=LONGEST_GREP)]
_Address = Annotated[str, msgspec.Meta(min_length=2, max_length=64)]


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class FarmEventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events of all nodes are wanted."""

    node: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    "Only of these nodes, with commas between them."
    level: Level = Level.DEBUG
    "The lowest level."
    origin: Annotated[str, msgspec.Meta(max_length=64)] = ""
    "Only of this origin."
    grep: _Grep = ""
    "Only with this text in `origin: message`; ASCII letters match in either case."
    since: _Number = 0
    "Only from this time on, in seconds since 1970."
    until: _Number | None = None
    "Only before this time, in seconds since 1970."
    last: Annotated[int, msgspec.Meta(ge=1, le=MOST_EVENTS)] = 100
    "How many at most, the newest of them."
    before: Annotated[str, msgspec.Meta(max_length=8192)] = ""
    "Only before what an earlier answer has shown: its `before`."


class NodeEventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events of one node are wanted: those after a number, or the last ones, perhaps before a number."""

    after: _Number | None = None
    before: _Number | None = None
    last: Annotated[int, msgspec.Meta(ge=0, le=MOST_EVENTS)] | None = None
    level: Level = Level.DEBUG
    grep: _Grep = ""
    since: _Number = 0
    until: _Number | None = None


class RunsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many runs are wanted."""

    last: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class OutputQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a run's output is wanted: the last lines, or what follows a place."""

    last: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    "Lines; 1000 without `after`."
    after: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    "0, or `next` of an earlier answer."


class ClientQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client about whom it is asked."""

    address: _Address
    "The client's IP address."
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    "The client's own port."
    vip: _Address | None = None
    "The virtual IP that it uses; all of them without."
    node: Annotated[str, msgspec.Meta(max_length=63)] = ""
    "The node that is to say it; the console's own without."


class SnapshotQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which nodes."""

    node: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    "These, with commas between them; all of them without."


class DifferencesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared."""

    revision: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)] | None = None
    "What this revision has changed; without it, what of the operator's files is not applied."


def read_query(query: Mapping[str, str], kind: type[Q]) -> Q:
    """Read the parameters of a query. Raise JsonError, which says which one is wrong."""
    for name, value in query.items():
        if not value.isprintable():
            raise JsonError(f"the parameter {name[:40]!r} is not printable")
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise JsonError(f"the parameters are not right: {error}") from None


def written(query: msgspec.Struct) -> dict[str, str]:
    """Return the parameters that are not at their defaults, as texts."""
    return {
        field.encode_name: str(value)
        for field in msgspec.structs.fields(query)
        if (value := getattr(query, field.name)) != field.default and value is not None
    }
