"""Holds the manual's page on the console to the table of its routes, and its unit to the one that is shipped."""

import re
from pathlib import Path

import pytest

from hcsidecar.core.console.routes import PREFIX, ROUTES

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(?P<request>[A-Z]+ /api/v1/[^`]+)` \| (?P<role>\w+) \| (?P<summary>.*) \|$", re.MULTILINE)


def test_the_manual_has_every_request_with_its_role_and_what_it_does():
    page = (ROOT / "docs" / "manual" / "console.md").read_text()
    told = [row.group("request", "role", "summary") for row in ROW.finditer(page)]
    assert told == [
        (f"{route.method} {PREFIX}{route.path}", str(route.role or "anybody"), route.summary) for route in ROUTES
    ]


@pytest.mark.parametrize("name", ["hcsidecar-console.service", "hcsidecar-console.conf"])
def test_the_unit_in_config_is_the_shipped_one(name):
    assert (ROOT / "config" / name).read_text() == (ROOT / "hcsidecar" / name).read_text()
