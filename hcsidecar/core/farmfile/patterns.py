"""What a regular expression of the farm file may cost: the package `regex` unrolls repeats when it compiles one."""

import re
from typing import Final

MOST_PARTS: Final = 10_000
"A million take a second and 670 MB."
MOST_NESTED: Final = 50
"The package calls itself for each group, and Python ends that near 200."
_TOKEN: Final = re.compile(
    r"\\. | \[\^?\]? (?:\\.|[^\]\\])* \] | \{(?P<least>[0-9]*)(?P<more>,[0-9]*)?\} | .", re.DOTALL | re.VERBOSE
)


def why_too_costly(pattern: str) -> str | None:
    """Say why an expression must not be compiled, or None if it may: right or wrong, it takes little time then."""
    parts = [0]
    "Of the whole, and of each open group in it."
    last = 0
    "Of what a repeat after it would repeat."
    for token in _TOKEN.finditer(pattern):
        if token[0] == "(":
            parts.append(0)
            if len(parts) > MOST_NESTED:
                return f"has more than {MOST_NESTED} groups in each other"
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
            return f"has more than {MOST_PARTS} parts, counted as often as they must repeat"
    return None


def _times(token: re.Match[str]) -> int | None:
    """Say how often the package writes down what is before a repeat; None for what is no repeat."""
    if token["least"] is not None:
        # What must be there is apart from what may follow; more digits say no more.
        return max(1, int(token["least"][:9] or 0) + (token["more"] is not None))
    return {"+": 2, "*": 1, "?": 1}.get(token[0])
