"""The farm file as a form: the keys that most farms set, shown as fields, and put back into the text of the file.

Only what somebody has changed is written, so that the text stays as its author has written it, with its comments. What
is typed is not judged here: it becomes a value of the file, and the check of the draft (`draft_check.py`) says what is
wrong with it, by the path of its field.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import tomlkit
from pydantic import BaseModel
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from hcsidecar.core.farmfile.check_tables import CHECKS
from hcsidecar.core.farmfile.farm_file import (
    ApplicationTable,
    Check,
    FarmTable,
    HealthTable,
    L2Table,
    NodeTable,
    ShareTable,
    format_duration,
)
from hcsidecar.core.farmfile.text import NotTomlError, document_in

Document = Mapping[str, Any]

_ACTIONS: Final = ("restart", "stopstart", "wait", "stop", "none")
_CHECK_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcp": ("address", "port"),
    "http": ("address", "port", "path"),
    "ping": ("address",),
    "interface": ("interface", "address"),
    "process": ("process", "unit"),
}
"The keys of each kind of check that the form has beside the common ones; of any other kind it has those alone."
_COMMON: Final = ("interval", "timeout", "fall", "action")
_SHARE_KEYS: Final = ("name", "protocol", "ports", "by")
_LIMITS: Final = (
    "farm.keep_ready",
    "health.lame_duck",
    "application.drain",
    "application.start_timeout",
    "application.stop_timeout",
    "application.max_restarts",
    "application.restart_window",
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "action": _ACTIONS,
    "protocol": ("tcp", "udp"),
    "by": ("address", "port", "datagram"),
}
_NUMBERS: Final = frozenset(("power", "port", "fall", "keep_ready", "max_restarts"))
_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "node": NodeTable,
    "farm": FarmTable,
    "health": HealthTable,
    "application": ApplicationTable,
    "l2": L2Table,
    "l2.share": ShareTable,
    "check": Check,
}
_NEW_CHECKS: Final[Mapping[str, Mapping[str, object]]] = {
    "tcp": {"name": "TCP", "address": "127.0.0.1", "port": 80},
    "http": {"name": "HTTP", "address": "127.0.0.1", "port": 80},
    "ping": {"name": "ROUTER", "address": "192.0.2.1"},
    "process": {"name": "PROCESS", "process": "apache2"},
}
"What a check has at first; its author changes it."
ADDABLE: Final = (*(f"check {kind}" for kind in _NEW_CHECKS), "share")
"What can be added by a button; a virtual IP is added by its address."
_PATH: Final = re.compile(
    rf"node\[\d{{1,4}}\]\.power|l2\.interface|l2\.vip\[\d{{1,4}}\]\.address|{'|'.join(map(re.escape, _LIMITS))}"
    rf"|l2\.share\[\d{{1,4}}\]\.(?:{'|'.join(_SHARE_KEYS)})"
    rf"|check\[\d{{1,4}}\]\.(?:name|{'|'.join((*_COMMON, *(key for keys in _CHECK_KEYS.values() for key in keys)))})"
)
_REMOVABLE: Final = re.compile(r"(check|l2\.vip|l2\.share)\[(\d{1,4})\]")
_STEP: Final = re.compile(r"([a-z_0-9]+)(?:\[(\d+)\])?")

_CANNOT: Final = (
    *(TOMLKitError, KeyError, IndexError, TypeError, AttributeError, RecursionError),
    tomllib.TOMLDecodeError,
)
"What tomlkit raises, and what comes of a path that is not there or leads to something else."
_Texts = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=1000)], ...], msgspec.Meta(max_length=900)]


class FarmForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody has typed: paths of keys and their values side by side."""

    key: _Texts = ()
    value: _Texts = ()
    removed: _Texts = ()
    "The paths of tables that are to go, as `check[2]`."
    add: Annotated[str, msgspec.Meta(max_length=20)] = ""
    "One of ADDABLE; empty: nothing."
    new_vip: Annotated[str, msgspec.Meta(max_length=64)] = ""
    digest: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    "The SHA-256 of the farm file that the form was made of."


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of the form."""

    path: str
    key: str
    value: str
    "As it stands in the file; empty where it does not."
    default: str
    "What holds where it is empty; empty where there is no default."
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormTable:
    """One table of those that there are several of."""

    path: str
    title: str
    fields: Sequence[FormField]


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmFields:
    """The whole form."""

    nodes: Sequence[FormTable]
    layer_two: Sequence[FormField]
    vips: Sequence[FormTable]
    shares: Sequence[FormTable]
    checks: Sequence[FormTable]
    limits: Sequence[FormField]


class NotEditedError(ValueError):
    """The form cannot be put into the file; the text says why and what to do."""


def fields_of(content: bytes) -> FarmFields:
    """Return the form of a farm file. Raise NotEditedError if the file cannot be read as TOML."""
    document = _document(content)
    layer_two = _table(document.get("l2"))
    limits = [path for path in _LIMITS if path.partition(".")[0] != "application" or "application" in document]
    return FarmFields(
        nodes=[
            FormTable(path=path, title=str(node.get("name", "")), fields=[_field(f"{path}.power", node)])
            for path, node in _tables("node", document.get("node"))
        ],
        layer_two=[_field("l2.interface", layer_two)] if "l2" in document else (),
        vips=[
            FormTable(path=path, title=str(vip.get("address", "")), fields=[_field(f"{path}.address", vip)])
            for path, vip in _tables("l2.vip", layer_two.get("vip"))
        ],
        shares=[
            FormTable(
                path=path,
                title=str(share.get("name", "")),
                fields=[_field(f"{path}.{key}", share) for key in _SHARE_KEYS],
            )
            for path, share in _tables("l2.share", layer_two.get("share"))
        ],
        checks=[
            FormTable(
                path=path,
                title=str(check.get("type", "")),
                fields=[
                    _field(f"{path}.{key}", check)
                    for key in ("name", *_CHECK_KEYS.get(str(check.get("type")), ()), *_COMMON)
                ],
            )
            for path, check in _tables("check", document.get("check"))
        ],
        limits=[_field(path, _table(document.get(path.partition(".")[0]))) for path in limits],
    )


def with_form(content: bytes, form: FarmForm) -> str:
    """Return the text of a farm file with what somebody has typed. Raise NotEditedError if that is not possible."""
    _document(content)
    if len(form.key) != len(form.value):
        raise NotEditedError("the form has not as many values as keys: load the page again")
    if form.add not in ("", *ADDABLE):
        raise NotEditedError(f"the form can add one of {', '.join(ADDABLE)}")
    try:
        document = tomlkit.parse(content.decode())
        for path, value in zip(form.key, form.value, strict=True):
            _set(document, path, value)
        for path in sorted(form.removed, key=_number, reverse=True):
            _remove(document, path)
        _add(document, form)
        text = tomlkit.dumps(document)
        right = tomllib.loads(text) == document.unwrap()
    except _CANNOT:
        right = False
    if not right:
        raise NotEditedError("the farm file is written in a way that the form cannot change: change it in the editor")
    return text


def _document(content: bytes) -> Document:
    try:
        return document_in(content)
    except NotTomlError as error:
        raise NotEditedError(f"farm.toml {error.message}: mend it in the editor first") from None


def _table(value: object) -> Document:
    return value if isinstance(value, dict) else {}


def _tables(path: str, value: object) -> Iterator[tuple[str, Document]]:
    for number, table in enumerate(value if isinstance(value, list) else (), start=1):
        yield f"{path}[{number}]", _table(table)


def _field(path: str, table: Document) -> FormField:
    where, _, key = path.rpartition(".")
    value = table.get(key, "")
    model = _MODELS.get(re.sub(r"\[\d+\]", "", where))
    if model is Check:
        model = CHECKS.get(str(table.get("type")), Check)
    return FormField(
        path=path, key=key, value=_shown(value), default=_default(model, key), choices=_CHOICES.get(key, ())
    )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _default(model: type[BaseModel] | None, key: str) -> str:
    found = model.model_fields.get(key) if model is not None else None
    if found is None or found.is_required() or found.default is None:
        return ""
    return format_duration(found.default) if isinstance(found.default, float) else str(found.default)


def _set(document: Any, path: str, typed: str) -> None:
    if _PATH.fullmatch(path) is None:
        raise NotEditedError(f"the form has no field {path[:64]!r}")
    where, _, key = path.rpartition(".")
    typed = typed.strip()
    if not typed and where not in document and "[" not in where:
        return
    table = _found(document, where, make=True)
    if typed == _shown(table.get(key, "")):
        return
    if not typed:
        del table[key]
    else:
        table[key] = _value(key, typed)


def _value(key: str, typed: str) -> object:
    if key == "ports":
        return [_number_or_text(part.strip()) for part in typed.split(",") if part.strip()]
    return _number_or_text(typed) if key in _NUMBERS else typed


def _number_or_text(typed: str) -> int | str:
    return int(typed) if re.fullmatch(r"-?[0-9]{1,12}", typed) else typed


def _found(document: Any, where: str, *, make: bool = False) -> Any:
    """Return the table or list at a path. Raise KeyError or IndexError where there is none, and none is to be made."""
    found = document
    for name, number in _STEP.findall(where):
        if make and not number and name not in found:
            found[name] = tomlkit.table()
        found = found[name]
        if number:
            found = found[int(number) - 1]
    return found


def _number(path: str) -> int:
    found = _REMOVABLE.fullmatch(path)
    if found is None:
        raise NotEditedError(f"the form cannot remove {path[:64]!r}")
    return int(found[2])


def _remove(document: Any, path: str) -> None:
    tables, _, _ = path.partition("[")
    del _found(document, tables)[_number(path) - 1]
    where, _, name = tables.rpartition(".")
    if not _found(document, tables):
        # Without an address, or a share, there is no layer-2 mode.
        del document["l2" if where else name]


def _add(document: Any, form: FarmForm) -> None:
    kind, _, what = form.add.partition(" ")
    if kind == "check":
        _append(document, "check", {"type": what, **_NEW_CHECKS[what]})
    address = form.new_vip.strip()
    if address or kind == "share":
        layer_two = _found(document, "l2", make=True)
        if address:
            _append(layer_two, "vip", {"address": address})
        if kind == "share" or "share" not in layer_two:
            count = len(layer_two.get("share", ()))
            name = str(document["farm"]["name"]) if not count else f"share-{count + 1}"
            _append(layer_two, "share", {"name": name, "ports": [80]})


def _append(parent: Any, name: str, values: Mapping[str, object]) -> None:
    table: Table = tomlkit.table()
    for key, value in values.items():
        table[key] = value
    if name not in parent:
        made: AoT = tomlkit.aot()
        made.append(table)
        parent[name] = made
    else:
        parent[name].append(table)
