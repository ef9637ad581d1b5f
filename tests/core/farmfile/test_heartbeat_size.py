"""Do heartbeats fit into a packet?"""

import hashlib
import tomllib

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.heartbeat_size import ETHERNET_MTU, SEAL_BYTES, largest_packet
from hcsidecar.net.sealing import OVERHEAD_BYTES

LAYER_TWO = """
[l2]
[[l2.vip]]
address = "198.51.100.50"
[[l2.share]]
name = "web"
ports = [80]
[[l2.share]]
name = "mail"
ports = [25]
"""


def farm_of(names, extra=""):
    nodes = "\n".join(
        f'[[node]]\nname = "{name}"\naddress = "198.51.100.{number}"' for number, name in enumerate(names, 100)
    )
    return FarmFile.model_validate(tomllib.loads(f'[farm]\nname = "apache"\n{nodes}\n{extra}'))


@pytest.mark.parametrize(("nodes", "extra"), [(64, ""), (40, LAYER_TWO)], ids=["remote-site", "layer 2"])
def test_the_heartbeats_of_many_nodes_with_names_of_twelve_letters_fit_into_a_packet(nodes, extra):
    names = [f"webserver-{number:02}" for number in range(nodes)]
    assert largest_packet(farm_of(names, extra)) <= ETHERNET_MTU


def test_names_that_have_nothing_in_common_can_outgrow_a_packet():
    names = [hashlib.sha256(bytes([number])).hexdigest()[:60] for number in range(64)]
    assert largest_packet(farm_of(names, LAYER_TWO)) > ETHERNET_MTU


def test_the_seal_adds_what_it_is_taken_for():
    assert SEAL_BYTES == OVERHEAD_BYTES
