"""Turns pydantic's errors into messages for the person who wrote the farm file.

The messages about relations between tables are in `cross_checks.py` and the modules that it calls. Those about a single
value are where that value is parsed (`values.py`, `check_tables.py`).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hcsidecar.core.farmfile.check_tables import CHECKS
from hcsidecar.core.farmfile.notify_tables import RECEIVERS
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.tables import DEFAULT_NETWORK
from hcsidecar.core.farmfile.target_tables import OTHER, TARGETS
from hcsidecar.core.farmfile.values import as_toml

Location = tuple[str | int, ...]
_KINDS: Mapping[str, Collection[str]] = {"check": CHECKS, "target": TARGETS, "notify": RECEIVERS}
"The lists whose tables have a type, with the possible types."
_TAG_AT = 2
"The index of the type in a location, after the name of the list and the index in it."


def problem_of(error: ErrorDetails, document: Mapping[str, object], model: type[BaseModel]) -> Problem:
    """Return the problem that an error reports: its place in the document, what is wrong, and what would be right."""
    location = error["loc"]
    fields = _fields_at(location, model)
    if error["type"] == "extra_forbidden":
        message, hint = _unknown(error, fields, model)
    else:
        message, hint = _WORDINGS.get(error["type"], _words_of_pydantic)(error, fields)
    is_of_the_type = error["type"].startswith("union_tag") and isinstance(error["input"], dict)
    at = error.get("ctx", {}).get("at", ("type",) if is_of_the_type else ())
    place = _as_written((*location, *at), document)
    return Problem(path=path_of(place), message=message, hint=hint)


def _as_written(location: Location, document: Mapping[str, object]) -> Location:
    """Return a location as in the file, without what only the models have: the tag of a union, `addresses`."""
    place: list[str | int] = []
    here: Any = document
    parts = list(location)
    if _is_tagged(location, document):
        del parts[_TAG_AT]
    while parts:
        part = parts.pop(0)
        inside = isinstance(here, dict)
        if part == "[key]":
            continue
        if part == "addresses" and inside and "addresses" not in here:
            part = "address"
            parts = [rest for rest in parts if rest != DEFAULT_NETWORK]
        place.append(part)
        here = here.get(part) if inside else here[part]
    return tuple(place)


def _is_tagged(location: Location, document: Mapping[str, Any]) -> bool:
    """Return whether a location contains the type of a table. It could be mistaken for a key: `command` is both."""
    if len(location) <= _TAG_AT or location[0] not in _KINDS:
        return False
    kind, index, tag, *_ = location
    table = document[str(kind)][index]
    return isinstance(table, dict) and tag in (table.get("type"), OTHER)


def _fields_at(location: Location, model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys of the table that contains the last part of a location."""
    tables = [model]
    for part in location[:-1]:
        if not isinstance(part, str):
            continue
        chosen = [table for table in tables if _tag(table) == part]
        fields = [table.model_fields[part] for table in tables if part in table.model_fields]
        tables = chosen or [inner for field in fields for inner in _models_in(field.annotation)] or tables
    return {name: field for table in tables for name, field in table.model_fields.items()}


def _tag(table: type[BaseModel]) -> str | None:
    field = table.model_fields.get("type")
    return get_args(field.annotation)[0] if field and get_origin(field.annotation) is Literal else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


Wording = tuple[str, str]
Fields = dict[str, FieldInfo]


def _missing(error: ErrorDetails, fields: Fields) -> Wording:
    name = str(error["loc"][-1])
    if name == "addresses":
        return "is missing", 'for example address = "192.0.2.11"'
    if _models_in(fields[name].annotation):
        repeated = get_origin(fields[name].annotation) is tuple
        table = path_of(part for part in error["loc"] if isinstance(part, str))
        return "is missing", f"at least one table [[{table}]]" if repeated else f"a table [{table}]"
    examples = fields[name].examples
    return "is missing", f"for example {name} = {as_toml(examples[0])}" if examples else ""


def _unknown(error: ErrorDetails, fields: Fields, model: type[BaseModel]) -> Wording:
    place = tuple(part for part in error["loc"] if isinstance(part, str))
    name = place[-1]
    of_a_kind = len(place) > 1 and place[0] in _KINDS
    elsewhere = "" if of_a_kind else _table_with(name, model)
    if elsewhere:
        return "is not a known key here", f"it belongs in {elsewhere}"
    known = [*fields, *(["address"] if "addresses" in fields else [])]
    near = _nearest(name.lower(), known)
    return "is not a known key", f"did you mean {near}?" if near else f"there are {', '.join(known)}"


def _table_with(name: str, model: type[BaseModel]) -> str:
    """Return the header of the top-level table that has this key, which is often under the wrong one; else ""."""
    for table, field in model.model_fields.items():
        if any(name in inner.model_fields for inner in _models_in(field.annotation)):
            return f"[[{table}]]" if get_origin(field.annotation) is tuple else f"[{table}]"
    return ""


def _not_a(kind: str) -> Callable[[ErrorDetails, Fields], Wording]:
    def say(error: ErrorDetails, fields: Fields) -> Wording:
        name = error["loc"][-1] if error["loc"] else ""
        field = fields.get(str(name))
        examples = field.examples if field else None
        hint = f"for example {name} = {as_toml(examples[0])}" if examples else ""
        return f"must be {kind}, not {as_toml(error['input'])}", hint

    return say


def _out_of_bounds(error: ErrorDetails, _fields: Fields) -> Wording:
    bounds = error["ctx"]
    low, high = bounds.get("ge"), bounds.get("le")
    least_or_most = f"at least {low}" if high is None else f"at most {high}"
    return f"must be {least_or_most}, not {as_toml(error['input'])}", ""


def _wrong_length(error: ErrorDetails, _fields: Fields) -> Wording:
    bounds = error["ctx"]
    if "min_length" in bounds:
        return "is empty", f"at least {bounds['min_length']} required"
    return f"has {bounds['actual_length'] or 'too many'} entries", f"at most {bounds['max_length']}"


def _no_such_word(error: ErrorDetails, fields: Fields) -> Wording:
    field = fields.get(str(error["loc"][-1]))
    known = [str(word) for word in get_args(field.annotation)] if field else []
    near = _nearest(str(error["input"]).lower(), known)
    message = f"must be one of {', '.join(known)}, not {as_toml(error['input'])}"
    return message, f"did you mean {near}?" if near else ""


def _no_such_kind(error: ErrorDetails, fields: Fields) -> Wording:
    table = error["input"]
    if not isinstance(table, dict):
        return _not_a("a table")(error, fields)
    kinds = _KINDS[str(error["loc"][0])]
    tag = table.get("type")
    if tag is None:
        return "is missing", f"for example type = {as_toml(next(iter(kinds)))}"
    return no_such_type(tag, kinds)


def no_such_type(tag: object, kinds: Collection[str]) -> Wording:
    """Return the message for a table of an unknown type."""
    near = _nearest(str(tag).lower(), kinds)
    return f"must be one of {', '.join(kinds)}, not {as_toml(tag)}", f"did you mean {near}?" if near else ""


def _nearest(word: str, words: Collection[str]) -> str | None:
    """Return the word that somebody has probably meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - loaded only for a mistake

    return next(iter(get_close_matches(word, words, n=1)), None)


def _own_words(error: ErrorDetails, _fields: Fields) -> Wording:
    return error["ctx"]["message"], error["ctx"]["hint"]


def _words_of_pydantic(error: ErrorDetails, _fields: Fields) -> Wording:
    return error["msg"], ""


_WORDINGS: dict[str, Callable[[ErrorDetails, Fields], Wording]] = {
    "wrong": _own_words,
    "missing": _missing,
    "string_type": _not_a("text in quotes"),
    "int_type": _not_a("a whole number"),
    "bool_type": _not_a("true or false"),
    "tuple_type": _not_a("a list"),
    "model_type": _not_a("a table"),
    "model_attributes_type": _not_a("a table"),
    "mapping_type": _not_a("a table"),
    "dict_type": _not_a("a table"),
    "literal_error": _no_such_word,
    "greater_than_equal": _out_of_bounds,
    "less_than_equal": _out_of_bounds,
    "too_short": _wrong_length,
    "too_long": _wrong_length,
    "union_tag_invalid": _no_such_kind,
    "union_tag_not_found": _no_such_kind,
}
