"""How long a node that is removed may take before it is out of the farm."""

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.leaving import leave_limit

NODES = {"farm": {"name": "apache"}, "node": [{"name": "web1", "address": "192.0.2.1"}]}
SCRIPTS = {"start": "bin/start", "stop": "bin/stop"}


@pytest.mark.parametrize(
    ("tables", "limit"),
    [
        ({"health": {"lame_duck": "20s"}}, 25.0),
        ({"health": {"lame_duck": "20s"}, "application": SCRIPTS}, 25.0),
        ({"health": {"lame_duck": "20s"}, "application": {**SCRIPTS, "drain": "0s"}}, 5.0),
        ({"health": {"lame_duck": "1h"}}, 3600.0),
    ],
)
def test_it_has_the_time_of_a_drain_and_of_a_hand_over(tables, limit):
    farm = read(NODES | tables)
    assert isinstance(farm, FarmFile)
    assert leave_limit(farm) == limit
