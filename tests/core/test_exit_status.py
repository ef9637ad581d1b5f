"""How a program ended, in words."""

import pytest

from hcsidecar.core.exit_status import how_it_ended, signal_name


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-40, "killed by SIGRTMIN+6")],
)
def test_an_end_is_worded_by_its_status_or_its_signal(status, words):
    assert how_it_ended(status) == words


@pytest.mark.parametrize(("number", "name"), [(15, "SIGTERM"), (34, "SIGRTMIN+0"), (32, "signal 32")])
def test_a_signal_is_named_as_kill_does(number, name):
    assert signal_name(number) == name
