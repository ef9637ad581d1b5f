"""What somebody did to the files of a running daemon: what it is called, and that it is told in one line."""

from dataclasses import replace

import pytest

from hcsidecar.core.events import Level
from hcsidecar.core.lost_files import GATHER, Loss, Losses, Stamp, what_became

LEFT = Stamp(device=1, inode=2, size=3, modified=4)


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (LEFT, None),
        (None, "was removed"),
        (replace(LEFT, inode=9), "was replaced"),
        (replace(LEFT, device=9), "was replaced"),
        (replace(LEFT, size=9), "was overwritten"),
        (replace(LEFT, modified=9), "was overwritten"),
    ],
)
def test_what_became_of_a_file(found, what):
    assert what_became(LEFT, found) == what


def loss(path, what="was removed"):
    return Loss(path=path, what=what, remedy="written again")


def test_losses_that_come_together_are_told_in_one_line():
    losses = Losses()
    losses.note(loss("/s/state.json"))
    assert losses.take(now=10) is None
    losses.note(loss("/s/events.db"))
    losses.note(loss("/run/control.sock", "was replaced"))
    assert losses.take(now=10 + GATHER - 0.1) is None
    event = losses.take(now=10 + GATHER)
    assert event.level is Level.WARNING
    assert event.message == (
        "somebody has changed files of this running node: "
        "in /run, control.sock was replaced (written again); "
        "in /s, events.db was removed (written again), state.json was removed (written again)"
    )
    assert losses.take(now=100) is None


def test_a_file_that_is_lost_again_meanwhile_is_told_once():
    losses = Losses()
    losses.note(loss("/s/state.json"))
    losses.take(now=0)
    losses.note(loss("/s/state.json", "was overwritten"))
    assert losses.take(now=GATHER).message.endswith("node: in /s, state.json was overwritten (written again)")


def test_the_next_loss_is_told_in_a_line_of_its_own():
    losses = Losses()
    for now in (0, 50):
        losses.note(loss("/s/state.json"))
        assert losses.take(now=now) is None
        assert losses.take(now=now + GATHER) is not None


def test_nothing_lost_is_nothing_told():
    assert Losses().take(now=1e9) is None
