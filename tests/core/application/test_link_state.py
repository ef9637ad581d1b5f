from ipaddress import ip_address

import pytest

from hcsidecar.core.application.link_state import Held, Link, complaint, holder_of
from hcsidecar.core.farmfile.farm_file import InterfaceCheck

UP, LOWER_UP = 1, 1 << 16


def check(**options):
    return InterfaceCheck(type="interface", name="NET", **options)


def link(flags=UP | LOWER_UP, operational="UP"):
    return Link(name="eth0", flags=flags, operational=operational)


def held(text="192.0.2.11", interface="eth0", flags=0):
    return Held(address=ip_address(text), interface=interface, flags=flags)


BY_NAME = check(interface="eth0")
BY_ADDRESS = check(address="192.0.2.11")
BY_BOTH = check(interface="eth0", address="192.0.2.11")


@pytest.mark.parametrize(
    ("of", "link", "held", "reason"),
    [
        (BY_NAME, link(), None, None),
        (BY_NAME, link(operational="UNKNOWN"), None, None),
        (BY_NAME, None, None, "there is no interface eth0"),
        (BY_NAME, link(flags=LOWER_UP), None, "eth0 is switched off"),
        (BY_NAME, link(flags=UP, operational="DOWN"), None, "eth0 has no carrier"),
        (BY_NAME, link(operational="DORMANT"), None, "eth0 is dormant"),
        (BY_ADDRESS, None, None, "no interface has 192.0.2.11"),
        (BY_ADDRESS, link(), held(), None),
        (BY_ADDRESS, link(flags=UP, operational="LOWERLAYERDOWN"), held(), "eth0 has no carrier"),
        (BY_BOTH, link(), held(), None),
        (BY_BOTH, None, None, "there is no interface eth0"),
        (BY_BOTH, link(), None, "eth0 does not have 192.0.2.11"),
        (BY_BOTH, link(), held(flags=0x08), "another machine has 192.0.2.11 too"),
        (BY_BOTH, link(), held(flags=0x40), "192.0.2.11 is not usable yet"),
    ],
)
def test_link_and_address_must_be_there(of, link, held, reason):
    assert complaint(of, link, held) == reason


def test_an_address_counts_on_the_interface_that_is_named():
    elsewhere = held(interface="eth1")
    assert holder_of(BY_ADDRESS, [elsewhere]) == elsewhere
    assert holder_of(BY_BOTH, [elsewhere]) is None
    assert holder_of(BY_BOTH, [elsewhere, held()]) == held()
    assert holder_of(BY_ADDRESS, [held("192.0.2.12")]) is None
    assert holder_of(BY_NAME, [held()]) is None


def test_of_an_address_on_two_interfaces_the_usable_one_counts():
    usable = held(interface="eth1")
    assert holder_of(BY_ADDRESS, [held(flags=0x08), usable]) == usable
