import pytest

from hcsidecar.core.powers import NodePowers, PowerChange, why_nobody_takes

TWO = NodePowers(names=("APACHE", "DNS"), file=(1, 2), layer_two=True)
PLAIN = NodePowers(names=("apache",), file=(1,), layer_two=False)


@pytest.mark.parametrize(
    ("before", "power", "share", "after"),
    [
        ({}, 3, None, {"APACHE": 3, "DNS": 3}),
        ({}, 3, "DNS", {"DNS": 3}),
        ({"APACHE": 5}, 0, "DNS", {"APACHE": 5, "DNS": 0}),
        ({"APACHE": 5, "DNS": 6}, None, "DNS", {"APACHE": 5}),
        ({"APACHE": 5, "DNS": 6}, None, None, {}),
        ({"GONE": 9}, 4, "DNS", {"DNS": 4}),
    ],
)
def test_a_power_is_set_for_one_share_or_all_and_taken_back_alike(before, power, share, after):
    change = TWO.change(before, power, share)
    assert isinstance(change, PowerChange)
    assert change.powers == after


def test_what_was_set_counts_over_the_farm_file_and_for_no_share_that_is_gone():
    assert TWO.effective({}) == (1, 2)
    assert TWO.effective({"DNS": 7, "GONE": 9}) == (1, 7)


def test_a_change_is_told_beside_the_farm_file():
    assert TWO.change({}, 3, "APACHE").text == "has power APACHE 3 (farm file: 1), DNS 2"
    assert TWO.change({"APACHE": 3}, None, None).text == "has power APACHE 1, DNS 2"
    assert PLAIN.change({}, 3, None).text == "has power 3 (farm file: 1)"


def test_an_unknown_share_is_refused_with_those_there_are():
    assert TWO.change({}, 1, "MAIL") == "no share 'MAIL'; there are APACHE, DNS"


def test_a_farm_without_layer_two_has_one_power():
    assert PLAIN.change({}, 0, None) == PowerChange(powers={"apache": 0}, text="has power 0 (farm file: 1)")
    assert PLAIN.change({}, 0, "apache") == (
        "this farm has no [l2] table, so no shares: a node has one power; leave --share away"
    )


@pytest.mark.parametrize(
    ("powers", "warned"),
    [
        ((0, 0), ["DNS"]),
        ((0, 1), []),
        ((1, 0), ["DNS"]),
    ],
)
def test_a_share_that_nobody_takes_is_warned_of(powers, warned):
    view = (("web1", (1, 1)), ("web2", (1, 0)), ("web3", (0,)))
    told = why_nobody_takes(("APACHE", "DNS"), view, "web1", powers)
    assert told == [f"nobody takes {share} now: no member of the view has a power above 0" for share in warned]
