import os
import subprocess
from ipaddress import ip_address

import pytest
from kernel.tiny_programs import XDP, XDP_PASS, memory, program
from lan.as_found import as_found, differences
from lan.namespaces import run
from refused_filter import refused_object

from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.kernel.changes import AddressAdded, SettingChanged
from l2mode.kernel.errors import FilterError
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.packet_filter import choose_filter
from l2mode.kernel.xdp import XdpFilter

VIP = ip_address("192.0.2.50")
SETTINGS = LayerTwoSettings(
    farm="apache",
    me="web1",
    nodes=("web1", "web2"),
    vips=(VIP, ip_address("2001:db8::50")),
    groups=(ShareGroup(name="APACHE", protocol=Protocol.TCP, ports=(80,)),),
    seed=bytes(16),
)

SET_UP = """
from kernel.test_packet_filter import SETTINGS
from l2mode.core.verdict import Delivery
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.packet_filter import choose_filter
choose_filter({wanted!r}, SETTINGS, "eth0", record, tell=print)
HostAddresses(SETTINGS.vips, "eth0", record, delivery=Delivery.DIRECTED).set_up()
"""


def set_up(server, wanted="auto", record=None):
    record = record or server.record()
    chosen, choice = choose_filter(wanted, SETTINGS, "eth0", record, tell=server.tell)
    HostAddresses(SETTINGS.vips, "eth0", record, delivery=Delivery.DIRECTED).set_up()
    return chosen, choice


def take_down(record, chosen):
    record.restore(AddressAdded, SettingChanged)
    chosen.detach()
    record.restore()


def ping_vip(server, *options):
    """Send pings to the virtual IP as a client that knows the server's MAC, and say how many were answered."""
    mac = server.json("ip -j link show eth0")[0]["address"]
    run(server.network, "ip", "address", "replace", "192.0.2.1/24", "dev", "peer0")
    run(server.network, "ip", "neigh", "replace", str(VIP), "lladdr", mac, "dev", "peer0")
    command = ["ip", "netns", "exec", server.network, "ping", "-q", *options, str(VIP)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answered(ping):
    printed = ping.communicate(timeout=20)[0]
    return int(printed.partition(" received")[0].rpartition(" ")[2])


@pytest.mark.parametrize(
    ("wanted", "name"), [("auto", "tc"), ("tc", "tc"), ("xdp", "xdp generic"), ("nfqueue", "nfqueue")]
)
def test_the_filter_that_is_chosen_is_closed_and_in_place(server, wanted, name):
    before = as_found(server)
    record = server.record()
    chosen, choice = set_up(server, wanted, record)
    assert chosen.name == choice.kind.value == name
    assert choice.passed_over == ()
    assert len(chosen.memory) == Tables.SIZE
    assert Tables(chosen.memory).lease == 0
    assert chosen.repair() is None
    assert answered(ping_vip(server, "-c2", "-i0.1", "-W1")) == 0
    take_down(record, chosen)
    assert differences(before, as_found(server)) == []


def test_on_an_interface_made_by_software_the_reason_is_that(server):
    _, choice = choose_filter("auto", SETTINGS, "eth0", server.record(), tell=server.tell)
    assert choice.why == "eth0 is made by software (veth), where XDP has no advantage or does not work"


@pytest.mark.parametrize("wanted", ["tc", "xdp", "nfqueue"])
def test_after_a_kill_everything_is_put_back_by_the_record_alone(server, wanted):
    before = as_found(server)
    server.run_killed(SET_UP.format(wanted=wanted))
    assert "192.0.2.50/32" in server.addresses_of("lo")
    server.record().restore()
    assert differences(before, as_found(server)) == []
    assert [level for level, _ in server.told] == ["info"] * len(server.told)


@pytest.mark.parametrize("wanted", ["tc", "xdp", "nfqueue"])
def test_a_kill_and_a_restart_let_nothing_through(server, wanted):
    before = as_found(server)
    server.run_killed(SET_UP.format(wanted=wanted))
    ping = ping_vip(server, "-c200", "-i0.005", "-W1")
    record = server.record()
    chosen, _ = set_up(server, wanted, record)
    record.restore_left_over()
    assert answered(ping) == 0
    take_down(record, chosen)
    assert differences(before, as_found(server)) == []


def test_another_filter_after_a_kill_takes_the_place_of_the_one_before(server):
    before = as_found(server)
    server.run_killed(SET_UP.format(wanted="xdp"))
    record = server.record()
    chosen, _ = set_up(server, "tc", record)
    record.restore_left_over()
    assert "xdp" not in server.sh("ip link show dev eth0")
    assert chosen.warnings == ()
    take_down(record, chosen)
    assert differences(before, as_found(server)) == []


def test_all_reasons_are_said_when_nothing_works(server):
    other = program(XDP, XDP_PASS, "other")
    XdpFilter(other, memory(), generic=True, interface="eth0", record=server.record()).attach()
    server.directory = server.directory / "ours"
    server.directory.mkdir()
    with pytest.raises(FilterError, match=r"eth0 has an XDP program \d+ \(other\) already"):
        choose_filter("xdp", SETTINGS, "eth0", server.record(), tell=server.tell)


def test_without_the_capabilities_for_bpf_the_queue_is_chosen_and_the_reason_said(server):
    printed = server.run_without(
        ("bpf", "perfmon", "sys_admin"),
        """
from kernel.test_packet_filter import SETTINGS
from l2mode.kernel.packet_filter import choose_filter
chosen, choice = choose_filter("auto", SETTINGS, "eth0", record, tell=print)
print(choice.fall_back)
chosen.detach()
""",
    )
    assert "the filter is nfqueue in place of tc (loading the packet filter is not permitted: " in printed
    assert "the process has no BPF, PERFMON): a Python process judges every packet" in printed


def test_where_the_verifier_refuses_the_filter_the_queue_takes_its_place(server):
    before = as_found(server)
    record, refused = server.record(), refused_object(server.directory)
    chosen, choice = choose_filter("auto", SETTINGS, "eth0", record, tell=server.tell, object_file=refused)
    assert chosen.name == "nfqueue"
    assert choice.degraded
    assert f"{os.uname().release} refuses the packet filter: Invalid argument" in choice.fall_back
    # What the verifier objects to is for the authors.
    assert "invalid func" not in choice.fall_back + choice.remedy
    assert [level for level, message in server.told if "invalid func" in message] == ["debug"]
    take_down(record, chosen)
    assert differences(before, as_found(server)) == []


@pytest.mark.parametrize("wanted", ["tc", "xdp"])
def test_a_filter_that_is_asked_for_and_refused_is_an_error_and_leaves_nothing(server, wanted):
    before = as_found(server)
    record, refused = server.record(), refused_object(server.directory)
    with pytest.raises(FilterError, match="refuses the packet filter: Invalid argument; report") as said:
        choose_filter(wanted, SETTINGS, "eth0", record, tell=server.tell, object_file=refused)
    assert 'or set filter = "nfqueue" in [l2]' in said.value.remedy
    assert "invalid func" not in str(said.value)
    assert {level for level, message in server.told if "invalid func" in message} == {"debug"}
    assert differences(before, as_found(server)) == []
