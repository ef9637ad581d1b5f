"""What a new server has on its disk when it does not join after all."""

import pytest

from hcsidecar.core.joining.messages import Handout, JoinFile, JoinPlan
from hcsidecar.joining.arrival import Arrival
from hcsidecar.joining.issuer import JoinError

LONGEST_PATH = 4095
"Bytes, on Linux."


def test_a_directory_that_was_made_for_the_farm_file_does_not_stay_if_nothing_can_be_written_there(tmp_path):
    # The farm file has a path that the system takes, and a file with a longer name has none.
    directory = tmp_path / "new"
    while (left := LONGEST_PATH - len(str(directory)) - len("/farm.toml") - 1) > 1:
        directory /= "d" * min(left - 1, 200)
    plan = JoinPlan(issuer="web1", farm="apache", key_file="farm.key", digest="", files=(), lines=(), problems=())
    (problem,) = Arrival(directory / "farm.toml", plan, node="web2").why_not()
    assert "cannot be written: File name too long" in problem
    assert list(tmp_path.iterdir()) == []


def test_what_was_set_aside_comes_back_if_not_all_can_be_written(tmp_path):
    former = {"farm.toml": b"old", "farm.key": b"old key", "ca.pem": b"old authority", "scripts": b"no directory"}
    for name, content in former.items():
        (tmp_path / name).write_bytes(content)
    files = (JoinFile(name="farm.toml", content=b"new"), JoinFile(name="scripts/start", content=b"#!/bin/sh"))
    plan = JoinPlan(issuer="web1", farm="apache", key_file="farm.key", digest="1", files=files, lines=(), problems=())
    handout = Handout(text="", files=files, key_file=b"new key", certificate=b"new", authority_key=b"new")
    with pytest.raises(JoinError, match="nothing is left of what was written"):
        Arrival(tmp_path / "farm.toml", plan, node="web2", fresh=True).write(handout)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == former
