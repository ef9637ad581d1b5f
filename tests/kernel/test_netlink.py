import pytest
from daemons import wait_for
from lan.namespaces import configure, run

from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import read_addresses
from l2mode.kernel.netlink import dump, refused_as, route
from l2mode.kernel.netlink_messages import attributes


def test_addresses_are_those_that_ip_shows(server):
    configure(
        server.namespace,
        [f"address add 198.51.{100 + i // 250}.{i % 250}/{24 + i % 8} dev eth0" for i in range(300)],
    )
    shown = {
        (link["ifname"], address["local"], address["prefixlen"], address["scope"] == "global")
        for link in server.json("ip -j address show")
        for address in link["addr_info"]
    }
    assert len(shown) > 250
    assert {
        (place.interface, str(place.address), place.prefix_length, place.usable_as_source) for place in read_addresses()
    } == shown


def test_an_address_that_another_machine_has_is_no_source(server):
    run(server.network, "ip", "address", "add", "2001:db8::99/64", "dev", "peer0", "nodad")
    server.sh("ip address add 2001:db8::99/64 dev eth0")
    wait_for(lambda: "dadfailed" in server.sh("ip address show dev eth0"))
    usable = {str(place.address): place.usable_as_source for place in read_addresses()}
    assert usable["2001:db8::11"]
    assert not usable["2001:db8::99"]


def test_what_the_kernel_does_not_know_is_an_error_of_the_system(server):
    with pytest.raises(OSError, match="not supported"):
        list(dump(1000, bytes(8)))


def test_the_kernels_own_words_are_part_of_the_error(server):
    with route() as ip:
        index = ip.link("get", ifname="eth0")[0]["index"]
    with pytest.raises(OSError, match="mtu"), route() as ip:
        ip.link("set", index=index, mtu=10)


def test_a_truncated_attribute_ends_the_answer():
    assert attributes(b"\x08\x00\x01\x00abcd\x05\x00\x02\x00x\x00\x00\x00\x00\x00\x03\x00", 0) == {1: b"abcd", 2: b"x"}


def test_a_refusal_has_a_remedy():
    with pytest.raises(FilterError) as caught, refused_as("eth0 cannot be read"):
        raise PermissionError(1, "Operation not permitted")
    assert caught.value.problem == "eth0 cannot be read: Operation not permitted"
    assert caught.value.remedy == "run with the capability CAP_NET_ADMIN"
