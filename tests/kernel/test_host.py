import sys
from ipaddress import ip_address

import pytest
from lan.as_found import as_found, differences
from lan.namespaces import run

from l2mode.core.verdict import Delivery
from l2mode.kernel.errors import FilterError
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.interface import interface_holding, mac_of, read_interface
from l2mode.kernel.sysctls import effective, write_by_netlink

VIP = ip_address("192.0.2.50")
VIP6 = ip_address("2001:db8::50")


# As in a container; in a mount namespace of its own, so that nobody else sees it.
READ_ONLY_PROC = (
    *("unshare", "--mount", "sh", "-ec"),
    'mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys; exec "$@"',
    "sh",
)


def host_of(server, *vips, record=None):
    return HostAddresses(vips or (VIP, VIP6), "eth0", record or server.record(), delivery=Delivery.DIRECTED)


def test_the_virtual_ips_are_on_the_loopback_and_the_kernel_is_quiet_about_them(server):
    host_of(server).set_up()
    shown = server.sh("ip -o address show dev lo")
    assert "192.0.2.50/32 scope host lo" in shown
    assert "2001:db8::50/128 scope global nodad" in shown
    assert "tentative" not in shown
    assert (server.setting("arp_ignore"), server.setting("arp_announce")) == (1, 2)


def test_the_kernel_does_not_answer_arp_for_a_virtual_ip(server):
    host_of(server).set_up()
    run(server.network, "ip", "address", "add", "192.0.2.1/24", "dev", "peer0")
    pings = "ping -c1 -W1 192.0.2.11; ping -c1 -W1 192.0.2.50 || true; ip neigh"
    neighbours = run(server.network, "sh", "-c", pings)
    own, vip = (
        next(line for line in neighbours.splitlines() if line.startswith(ip)) for ip in ("192.0.2.11", "192.0.2.50")
    )
    assert "lladdr" in own
    assert "lladdr" not in vip


def test_all_is_left_as_it_was_found(server):
    before = as_found(server)
    host = host_of(server)
    host.set_up()
    assert differences(before, as_found(server)) != []
    host.take_down()
    host.take_down()
    assert differences(before, as_found(server)) == []


def test_all_is_left_as_it_was_found_after_a_kill_and_a_restart(server):
    before = as_found(server)
    host_of(server).set_up()  # whose process is killed here
    again = server.record()
    host_of(server, record=again).set_up()
    again.restore_left_over()
    assert {"192.0.2.50/32", "2001:db8::50/128"} <= set(server.addresses_of("lo"))
    again.restore()
    assert differences(before, as_found(server)) == []


def test_what_a_killed_process_had_and_the_next_does_not_need_is_put_back(server):
    host_of(server, VIP, VIP6).set_up()
    again = server.record()
    host_of(server, VIP6, record=again).set_up()
    again.restore_left_over()
    assert "192.0.2.50/32" not in server.addresses_of("lo")
    assert "2001:db8::50/128" in server.addresses_of("lo")
    assert server.setting("arp_ignore") == 1
    assert server.told == [("info", "192.0.2.50 is removed from lo")]


def test_an_address_that_was_there_before_stays(server):
    server.sh("ip address add 192.0.2.50/32 dev lo")
    host = host_of(server)
    host.set_up()
    host.take_down()
    assert "192.0.2.50/32" in server.addresses_of("lo")
    assert "2001:db8::50/128" not in server.addresses_of("lo")


def test_a_setting_that_was_right_before_stays(server):
    server.sh("echo 2 > /proc/sys/net/ipv4/conf/eth0/arp_ignore; echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_announce")
    host = host_of(server)
    host.set_up()
    assert (server.setting("arp_ignore"), server.setting("arp_announce")) == (2, 2)
    host.take_down()
    assert (server.setting("arp_ignore"), server.setting("arp_announce")) == (2, 1)


def test_a_setting_of_all_interfaces_spares_that_of_one(server):
    server.sh("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
    host_of(server).set_up()
    assert (server.setting("arp_ignore"), effective("eth0", "arp_ignore")) == (0, 1)


def test_a_setting_that_somebody_has_changed_since_stays(server):
    host = host_of(server)
    host.set_up()
    server.sh("echo 2 > /proc/sys/net/ipv4/conf/eth0/arp_ignore")
    host.take_down()
    assert server.setting("arp_ignore") == 2


def test_what_somebody_undoes_is_put_back_and_told(server):
    host = host_of(server)
    host.set_up()
    assert host.repair() is None
    server.sh("ip address del 192.0.2.50/32 dev lo; echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_announce")
    assert host.repair() == "arp_announce of eth0 was 0: now 2; 192.0.2.50 was removed from lo: put back"
    assert "192.0.2.50/32" in server.addresses_of("lo")
    assert host.repair() is None
    host.take_down()
    assert server.setting("arp_announce") == 0


def test_settings_can_be_written_where_proc_is_read_only(server):
    script = f"""
from pathlib import Path
from ipaddress import ip_address
from l2mode.core.verdict import Delivery
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.restore import open_record
from l2mode.kernel.sysctls import effective
settings = ("arp_ignore", "arp_announce")
record = open_record(Path({str(server.directory)!r}), tell=lambda *event: None)
host = HostAddresses([ip_address("192.0.2.50")], "eth0", record, delivery=Delivery.DIRECTED)
host.set_up()
print([effective("eth0", name) for name in settings])
host.take_down()
print([effective("eth0", name) for name in settings])
"""
    printed = run(server.namespace, *READ_ONLY_PROC, sys.executable, "-c", script)
    assert printed.splitlines() == ["[1, 2]", "[0, 0]"]


def test_settings_that_cannot_be_written_at_all_are_refused_with_the_command_that_sets_them(server):
    script = f"""
from pathlib import Path
from ipaddress import ip_address
from l2mode.kernel.errors import FilterError
from l2mode.core.verdict import Delivery
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.restore import open_record
record = open_record(Path({str(server.directory)!r}), tell=lambda *event: None)
try:
    HostAddresses([ip_address("192.0.2.50")], "eth0", record, delivery=Delivery.DIRECTED).set_up()
except FilterError as error:
    print(error.problem)
    print(error.remedy)
print(record.changes)
"""
    dropped = ("setpriv", "--bounding-set", "-net_admin")
    printed = run(server.namespace, *READ_ONLY_PROC, *dropped, sys.executable, "-c", script)
    assert printed.splitlines() == [
        "arp_ignore of eth0 is 0 and cannot be set: Operation not permitted",
        "sysctl -w net/ipv4/conf/eth0/arp_ignore=1 (in a container: `sysctls:` of its definition)",
        "()",
    ]


def test_a_value_written_over_netlink_is_the_one_that_proc_shows(server):
    write_by_netlink("eth0", "arp_announce", 2)
    write_by_netlink("eth0", "arp_ignore", 8)
    assert (server.setting("arp_ignore"), server.setting("arp_announce")) == (8, 2)


def test_without_the_capability_the_remedy_names_it(server):
    server.sh("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce")
    printed = server.run_without(
        ["net_admin"],
        """
from ipaddress import ip_address
from l2mode.core.verdict import Delivery
from l2mode.kernel.host import HostAddresses
try:
    HostAddresses([ip_address("192.0.2.50")], "eth0", record, delivery=Delivery.DIRECTED).set_up()
except FilterError as error:
    print(error)
""",
    )
    assert printed.strip() == (
        "the virtual IP 192.0.2.50 cannot be put on lo: Operation not permitted; run with the capability CAP_NET_ADMIN"
    )


@pytest.mark.parametrize(
    ("script", "problem", "remedy"),
    [
        ("ip link del eth0", "there is no interface eth0", "name one that `ip link` shows in [l2] interface"),
        ("ip link set eth0 down", "eth0 is down", "ip link set eth0 up"),
        ("ip link set lo down", "lo is down", "ip link set lo up"),
        ("ip -6 address flush dev eth0", "eth0 has no IPv6 address of its own", "ip address add"),
        (
            "ip link add eth1 type veth peer name eth2; ip address add 192.0.2.50/24 dev eth1",
            "the virtual IP 192.0.2.50 is an address of eth1 already",
            "ip address del 192.0.2.50/24 dev eth1",
        ),
        (
            "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1",
            "the virtual IP 2001:db8::50 cannot be put on lo",
            "sysctl -w net/ipv6/conf/lo/disable_ipv6=0",
        ),
    ],
)
def test_what_stands_in_the_way_is_said_with_its_remedy(server, script, problem, remedy):
    server.sh(script)
    with pytest.raises(FilterError) as caught:
        host_of(server).set_up()
    assert caught.value.problem.startswith(problem)
    assert caught.value.remedy.startswith(remedy)


def test_nothing_stays_changed_when_the_start_fails_halfway(server):
    server.sh("sysctl -qw net.ipv6.conf.lo.disable_ipv6=1")
    before = as_found(server)
    host = host_of(server)
    with pytest.raises(FilterError):
        host.set_up()
    host.take_down()
    assert differences(before, as_found(server)) == []


def test_an_interface_that_is_gone_has_taken_its_settings_along(server):
    host = host_of(server)
    host.set_up()
    server.sh("ip link del eth0")
    with pytest.raises(FilterError, match="eth0 is gone"):
        host.repair()
    host.take_down()
    assert "192.0.2.50/32" not in server.addresses_of("lo")


def test_the_facts_of_an_interface(server):
    server.sh("ip link set eth0 address 02:00:00:00:00:07 mtu 1400; ip link add br0 type bridge")
    eth0, br0 = read_interface("eth0"), read_interface("br0")
    assert (eth0.mac, eth0.mtu, eth0.up, eth0.kind, eth0.driver) == (mac_of("eth0"), 1400, True, "veth", "veth")
    assert mac_of("eth0").hex(":") == "02:00:00:00:00:07"
    assert (br0.up, br0.kind, br0.ethernet) == (False, "bridge", True)
    assert read_interface("lo").loopback
    with pytest.raises(OSError, match="No such device"):
        mac_of("eth9")


def test_the_interface_of_the_nodes_address_is_the_default(server):
    assert interface_holding(ip_address("192.0.2.11")) == "eth0"
    assert interface_holding(ip_address("2001:db8::11")) == "eth0"
    with pytest.raises(FilterError, match="no interface holds this node's address"):
        interface_holding(ip_address("192.0.2.12"))


def test_a_macvlans_parent_is_silent_too_and_gets_its_settings_back(server):
    server.sh(
        "ip link add link eth0 name x0 type macvlan mode bridge; ip link set x0 up; "
        "ip address del 192.0.2.11/24 dev eth0; ip address add 192.0.2.11/24 dev x0"
    )
    host = HostAddresses([VIP], "x0", server.record(), delivery=Delivery.DIRECTED)
    host.set_up()
    for name in ("x0", "eth0"):
        assert (server.setting("arp_ignore", name), server.setting("arp_announce", name)) == (1, 2)
    host.take_down()
    for name in ("x0", "eth0"):
        assert (server.setting("arp_ignore", name), server.setting("arp_announce", name)) == (0, 0)
