"""What a terminal takes, by the environment."""

from collections.abc import Mapping


def takes_colours(environment: Mapping[str, str]) -> bool:
    """Say whether text for a terminal may have escape sequences in it; NO_COLOR is that of https://no-color.org."""
    return not environment.get("NO_COLOR") and environment.get("TERM", "").lower() not in {"dumb", "unknown"}
