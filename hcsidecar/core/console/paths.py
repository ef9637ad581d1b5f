"""Compares paths with patterns that have parts in braces, such as `/nodes/{node}/status`."""

from collections.abc import Mapping, Sequence


def path_parameters(pattern: Sequence[str], parts: Sequence[str]) -> Mapping[str, str] | None:
    """Return what stands for the parts in braces, or None if the path is another one. Both are split at `/`."""
    if len(pattern) != len(parts):
        return None
    found = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            found[wanted.strip("{}")] = part
        elif wanted != part:
            return None
    return found
