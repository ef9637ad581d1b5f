"""Writes the JSON schema of the farm file and commented farm files from the models: every key, default and text."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from inspect import getsource
from itertools import pairwise
from textwrap import wrap
from types import ModuleType
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.toml_values import toml_value
from hcsidecar.core.farmfile.values import HostPort, StatusRange, format_duration

PREAMBLE = (
    "The farm file of hcsidecar, the same on every node of the farm.",
    "",
    'Lines without "#" are in force. A line "#key = value" shows the default of the key or, if it ends in "# example",',
    'a possible value. To set a key, remove the "#" before it and before its [table]. Durations are text with a unit:',
    "us, ms, s, m, h or d. Paths are relative to the directory of this file. `hcsidecar check-config` lists all",
    "mistakes. What a change of a key disturbs stands in brackets; see the manual, Changing the farm.",
)
_WIDTH = 118

TableValues = Mapping[str, object]
"The keys of one table that are set, with their values."
KeyMark = Callable[[str], str]
"Gives what to add in brackets to the sentence of a key, whose path it takes, or an empty text."


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of the farm file, with defaults written as in the file."""
    schema = FarmFile.model_json_schema(schema_generator=_FileSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect} | schema | {"title": "Farm file of hcsidecar"}


def file_keys() -> tuple[str, ...]:
    """Return the path of each key that the schema knows, as `check.port`, once for all kinds of a table.

    A table that may be left out, or stands several times, is among them by its own path.
    """
    schema = file_schema()
    found = (key for name, rule in schema["properties"].items() for key in _keys_below(schema, name, rule))
    return tuple(dict.fromkeys(found))


def _keys_below(schema: dict[str, Any], path: str, rule: dict[str, Any]) -> Iterator[str]:
    definitions = _tables_in(schema, rule)
    if not definitions or _is_optional(rule):
        yield path
    for definition in definitions:
        for key, key_rule in definition["properties"].items():
            yield from _keys_below(schema, f"{path}.{key}", key_rule)


def reference(mark: KeyMark) -> str:
    """Return the text of config/farm.toml: a farm of one node, with all other keys as comments. A test compares it."""
    return farm_file(
        {
            "farm": [{"name": "apache"}],
            "node": [{"name": "web1", "address": "192.0.2.11"}],
            "heartbeat": [{}],
            "web": [{}],
            "health": [{}],
        },
        mark=mark,
    )


def farm_file(tables: Mapping[str, Sequence[TableValues]], *, mark: KeyMark) -> str:
    """Return a farm file in which these tables are in force; everything else follows as comments."""
    schema = file_schema()
    lines = [f"# {line}".rstrip() for line in PREAMBLE]
    for name in (*tables, *(name for name in schema["properties"] if name not in tables)):
        rule = schema["properties"][name]
        given = tables.get(name, ())
        for definition in _tables_in(schema, rule):
            lines += _section(schema, name, rule, definition, given[0] if given else None, mark=mark)
        for values in given[1:]:
            lines += ["", f"[[{name}]]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


class _FileSchema(GenerateJsonSchema):
    """Writes defaults as text, where the models hold parsed values, and keeps the order of networks in examples."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002 - pydantic's
        return value

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        written = super().model_schema(schema)
        texts = _texts_below_keys(schema["cls"])
        for key, rule in written.get("properties", {}).items():
            if key in texts:
                rule.setdefault("description", texts[key])
        return written

    def encode_default(self, dft: Any) -> Any:
        match dft:
            case HostPort() | StatusRange():
                return str(dft)
            case float():
                return format_duration(dft)
            case tuple():
                return [self.encode_default(value) for value in dft]
            case _:
                return super().encode_default(dft)


def _texts_below_keys(model: type) -> dict[str, str]:
    """Return the docstring below each key in the source of a model and of its base classes."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls.__module__.startswith("hcsidecar."):
            found |= _texts_in(sys.modules[cls.__module__]).get(cls.__qualname__, {})
    return found


@cache
def _texts_in(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the docstrings of keys for each class of a module."""
    return {
        cls.name: {
            key.target.id: " ".join(text.value.value.split())
            for key, text in pairwise(cls.body)
            if isinstance(key, ast.AnnAssign)
            and isinstance(key.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for cls in ast.parse(getsource(module)).body
        if isinstance(cls, ast.ClassDef)
    }


def _section(
    schema: dict[str, Any],
    path: str,
    rule: dict[str, Any],
    definition: dict[str, Any],
    values: TableValues | None,
    *,
    mark: KeyMark,
) -> Iterator[str]:
    """Yield the lines of a table with all its keys, then of the tables below it; without values, all are comments."""
    header = f"[[{path}]]" if rule.get("type") == "array" else f"[{path}]"
    yield ""
    yield from _prose(rule.get("description", definition["description"]), mark(path) if _is_optional(rule) else "")
    yield header if values is not None else f"#{header}"
    below = []
    for key, key_rule in definition["properties"].items():
        definitions = _tables_in(schema, key_rule)
        below += [(f"{path}.{key}", key_rule, inner) for inner in definitions]
        if not definitions:
            yield from _prose(key_rule["description"], mark(f"{path}.{key}"))
            yield _key(key, key_rule, key in definition.get("required", ()), values or {})
    for inner_path, inner_rule, inner in below:
        yield from _section(schema, inner_path, inner_rule, inner, None, mark=mark)


def _key(key: str, rule: dict[str, Any], needed: bool, values: TableValues) -> str:
    if key in values:
        return f"{key} = {toml_value(values[key])}"
    if needed:
        return f"#{key} = {toml_value(rule['examples'][0])}  # needed"
    if rule.get("default") in (None, [], {}):
        return f"#{key} = {toml_value(rule['examples'][0])}  # example"
    choices = f"  # {' | '.join(rule['enum'])}" if "enum" in rule else ""
    return f"#{key} = {toml_value(rule['default'])}{choices}"


def _tables_in(schema: dict[str, Any], rule: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the definitions of the tables that a key may hold: none for a plain value, several for kinds of checks."""
    choices = [rule, rule.get("items", {}), *rule.get("anyOf", ()), *rule.get("items", {}).get("oneOf", ())]
    names = [choice["$ref"].rpartition("/")[2] for choice in choices if "$ref" in choice]
    return [schema["$defs"][name] for name in names]


def _is_optional(rule: dict[str, Any]) -> bool:
    """Return whether a table may be left out, or stand several times."""
    return "anyOf" in rule or rule.get("type") == "array"


def _prose(text: str, mark: str) -> list[str]:
    # A mark of two words stays on one line.
    unbroken = mark.replace(" ", "\N{NO-BREAK SPACE}")
    lines = wrap(f"{text} [{unbroken}]" if mark else text, _WIDTH)
    return [f"# {line}".replace("\N{NO-BREAK SPACE}", " ") for line in lines]
