"""What a terminal takes, by the environment."""

import pytest

from hcsidecar.core.terminals import takes_colours


@pytest.mark.parametrize(
    ("environment", "takes"),
    [
        ({}, True),
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "UNKNOWN"}, False),
    ],
)
def test_colours_are_for_terminals_that_have_them_and_people_who_want_them(environment, takes):
    assert takes_colours(environment) is takes
