"""The options that choose among events, --since, --until and --grep, as their values are parsed."""

import re
from datetime import UTC, datetime

import typer

from hcsidecar.cli.moments import parse_moment


def parse_since(text: str | None) -> float:
    """Return the moment in seconds since 1970, 0 without the option."""
    return 0.0 if text is None else _moment("--since", text)


def parse_until(text: str | None) -> float | None:
    """Return the moment in seconds since 1970, None without the option."""
    return None if text is None else _moment("--until", text)


def _moment(option: str, text: str) -> float:
    try:
        return max(0.0, parse_moment(text, now=datetime.now(UTC).astimezone()).timestamp())
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from None


def parse_grep(text: str | None) -> re.Pattern[str] | None:
    """Return the regular expression, None without the option."""
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"--grep {text!r} is no regular expression: {error}") from None
