"""What a new server has on its disk when it does not join after all."""

from hcsidecar.core.joining.messages import JoinPlan
from hcsidecar.joining.arrival import Arrival

LONGEST_PATH = 4095
"Bytes, on Linux."


def test_a_directory_that_was_made_for_the_farm_file_does_not_stay_if_nothing_can_be_written_there(tmp_path):
    # The farm file has a path that the system takes, and a file with a longer name has none.
    directory = tmp_path / "new"
    while (left := LONGEST_PATH - len(str(directory)) - len("/farm.toml") - 1) > 1:
        directory /= "d" * min(left - 1, 200)
    plan = JoinPlan(issuer="web1", farm="apache", key_file="farm.key", digest="", files=(), lines=(), problems=())
    (problem,) = Arrival(directory / "farm.toml", plan).why_not("web2")
    assert "cannot be written: File name too long" in problem
    assert list(tmp_path.iterdir()) == []
