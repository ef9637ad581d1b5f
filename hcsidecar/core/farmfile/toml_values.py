"""Values as they stand in a TOML file that is written here.

tomlkit would not be less: a table within a value has to be made an inline table there by hand, and most lines of the
files that are written here are comments.
"""

import json
import re

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """Write a value of TOML in full."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON's text is TOML's, but for one control character.
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
