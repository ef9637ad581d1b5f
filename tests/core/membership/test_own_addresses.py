from hcsidecar.core.membership.own_addresses import OwnAddresses

TWO = {"default": "192.0.2.11", "back": "198.51.100.11"}

LOST = "192.0.2.11 is no address of this machine any more: no heartbeat goes out or comes in there"


def told(events):
    return [(event.level.value, event.message) for event in events]


def test_an_address_that_is_lost_and_one_that_is_back_are_told_once_each():
    own = OwnAddresses({"default": "192.0.2.11"})
    assert own.see({"192.0.2.11"}) == []
    assert told(own.see(())) == [("error", f"{LOST}; ip address add 192.0.2.11/LENGTH dev INTERFACE")]
    assert own.complaint == "this machine has lost its addresses: no heartbeat goes out or comes in there"
    assert own.see(()) == []
    assert told(own.see({"192.0.2.11"})) == [("info", "192.0.2.11 is an address of this machine again")]
    assert own.complaint == ""


def test_of_several_networks_the_one_that_is_lost_is_named():
    own = OwnAddresses(TWO)
    ((_, message),) = told(own.see({"192.0.2.11"}))
    assert message.startswith("198.51.100.11 (network back) is no address of this machine any more")
    assert own.complaint == "this machine has lost 198.51.100.11: no heartbeat goes out or comes in there"
    assert [level for level, _ in told(own.see({"198.51.100.11"}))] == ["error", "info"]
