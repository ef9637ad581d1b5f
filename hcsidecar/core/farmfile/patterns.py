"""Limits the size of regular expressions in the farm file: the package `regex` unrolls repeats when it compiles one."""

import re
from typing import Final

MOST_PARTS: Final = 10_000
"The most parts of an expression after unrolling. A million parts take a second and 670 MB."
MOST_NESTED: Final = 50
"The most nested groups. The package recurses for each group, and reaches Python's limit near 200."
_TOKEN: Final = re.compile(
    r"\\. | \[\^?\]? (?:\\.|[^\]\\])* \] | \{(?P<least>[0-9]*)(?P<more>,[0-9]*)?\} | .", re.DOTALL | re.VERBOSE
)


def why_too_costly(pattern: str) -> str | None:
    """Return why an expression must not be compiled, or None if that takes little time, even if it is not valid."""
    parts = [0]
    "The number of parts of the whole expression, and of each group that is open."
    last = 0
    "The number of parts that a repeat at this point would repeat."
    for token in _TOKEN.finditer(pattern):
        if token[0] == "(":
            parts.append(0)
            if len(parts) > MOST_NESTED:
                return f"has more than {MOST_NESTED} nested groups"
        elif token[0] == ")" and len(parts) > 1:
            last = parts.pop()
            parts[-1] += last
        elif (times := _times(token)) is not None:
            parts[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            parts[-1] += last
        if parts[-1] > MOST_PARTS:
            return f"has more than {MOST_PARTS} parts, each counted as often as it must repeat"
    return None


def _times(token: re.Match[str]) -> int | None:
    """Return how often the package writes down what precedes a repeat; None if the token is no repeat."""
    if token["least"] is not None:
        # The package writes the required repeats, then once the optional ones. Nine digits exceed the limit already.
        return max(1, int(token["least"][:9] or 0) + (token["more"] is not None))
    return {"+": 2, "*": 1, "?": 1}.get(token[0])
