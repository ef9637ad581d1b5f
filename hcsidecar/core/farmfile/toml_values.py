"""Writes values as TOML.

tomlkit would not make this shorter: it needs extra code to write a table within a value as an inline table, and most
lines of the files that hcsidecar writes are comments.
"""

import json
import re

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """Return a value as TOML, of any length."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # A JSON string is a TOML string, except for one control character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            items = (f"{_key(key)} = {toml_value(inner)}" for key, inner in value.items())
            return f"{{ {', '.join(items)} }}"
        case _:
            return str(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else toml_value(key)
