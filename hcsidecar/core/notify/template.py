"""The template of a webhook: JSON with placeholders in its texts, so that a chat system gets the form that it knows."""

from collections.abc import Mapping
from typing import Any, Final

from hcsidecar.core.json_reading import JsonError, read_json

PLACEHOLDERS: Final = ("text", "subject", "farm", "node")
"Stand in a template as {text}."


def template_in(text: str) -> object:
    """Return a template. Raise JsonError if it is not JSON, ValueError if no message could be told with it."""
    template = read_json(text.encode(errors="surrogatepass"), object)
    if not any(f"{{{name}}}" in each for each in _texts(template) for name in ("text", "subject")):
        raise ValueError("has neither {text} nor {subject} in it")
    return template


def filled(template: object, values: Mapping[str, str]) -> Any:
    """Return a template with values for the placeholders in its texts. A value cannot change the form of the JSON."""
    match template:
        case str():
            return _filled_text(template, values)
        case dict():
            return {key: filled(value, values) for key, value in template.items()}
        case list():
            return [filled(value, values) for value in template]
        case _:
            return template


def _filled_text(text: str, values: Mapping[str, str]) -> str:
    # Each placeholder once, from left to right: what a value contains is no placeholder.
    found = [(place, name) for name in values if (place := text.find(f"{{{name}}}")) >= 0]
    if not found:
        return text
    place, name = min(found)
    return text[:place] + values[name] + _filled_text(text[place + len(name) + 2 :], values)


def _texts(template: object) -> list[str]:
    match template:
        case str():
            return [template]
        case dict():
            return [text for value in template.values() for text in _texts(value)]
        case list():
            return [text for value in template for text in _texts(value)]
        case _:
            return []


__all__ = ["PLACEHOLDERS", "JsonError", "filled", "template_in"]
