import dataclasses

import pytest
from interfaces import ETH0

from l2mode.core.filters import (
    Attachment,
    FilterChoice,
    FilterKind,
    FilterRow,
    PassedOver,
    ahead_of,
    candidates,
    filter_name,
    own_row,
    place_for,
    problems_of,
    remedies_of,
)

NAME = "hcsidecar:apache"


def interface(kind=None, driver="virtio_net"):
    return dataclasses.replace(ETH0, kind=kind, driver=driver)


def bpf(priority, name, handle=1):
    return FilterRow(priority=priority, handle=handle, kind="bpf", name=name)


def kinds(wanted, kind):
    return [found for found, _ in candidates(wanted, interface(kind))]


@pytest.mark.parametrize(
    ("wanted", "kind", "expected"),
    [
        ("auto", None, [FilterKind.TC, FilterKind.XDP, FilterKind.NFQUEUE]),
        ("auto", "veth", [FilterKind.TC, FilterKind.NFQUEUE]),
        ("auto", "bridge", [FilterKind.TC, FilterKind.NFQUEUE]),
        ("auto", "bond", [FilterKind.TC, FilterKind.NFQUEUE]),
        ("auto", "vlan", [FilterKind.TC, FilterKind.NFQUEUE]),
        ("xdp", None, [FilterKind.XDP, FilterKind.XDP_GENERIC]),
        ("xdp", "veth", [FilterKind.XDP_GENERIC]),
        ("tc", None, [FilterKind.TC]),
        ("nfqueue", None, [FilterKind.NFQUEUE]),
    ],
)
def test_the_best_filter_for_an_interface_comes_first(wanted, kind, expected):
    assert kinds(wanted, kind) == expected


def test_each_candidate_has_its_reason():
    assert [why for _, why in candidates("auto", interface())] == [
        "it carries large transfers best, on every interface",
        "eth0 is a real interface (driver virtio_net)",
        "it needs no BPF",
    ]
    assert candidates("auto", interface("veth", "veth"))[0][1] == (
        "eth0 is made by software (veth), where XDP has no advantage or does not work"
    )


def passed_over(kind, problem="it is refused", remedy="grant BPF"):
    return PassedOver(kind=kind, problem=problem, remedy=remedy)


def test_the_first_filter_that_is_tried_costs_nothing():
    choice = FilterChoice(kind=FilterKind.TC, why="it works on every interface")
    assert (choice.fall_back, choice.cost, choice.remedy, choice.degraded) == (None, "", "", False)


def test_one_reason_for_two_filters_is_told_once_with_what_it_costs():
    refused = (passed_over(FilterKind.TC), passed_over(FilterKind.XDP))
    choice = FilterChoice(kind=FilterKind.NFQUEUE, why="it needs no BPF", passed_over=refused)
    assert choice.degraded
    assert choice.fall_back.startswith("the filter is nfqueue in place of tc and xdp (it is refused): a Python process")
    assert choice.remedy == 'grant BPF; or set filter = "nfqueue" in [l2], if it is enough'


def test_two_reasons_are_told_apart():
    refused = (passed_over(FilterKind.TC), passed_over(FilterKind.XDP, "there is no room", "make room"))
    assert problems_of(refused) == "tc: it is refused; xdp: there is no room"
    assert remedies_of(refused) == 'grant BPF; or make room; or set filter = "nfqueue" in [l2], which is slow'
    assert remedies_of((*refused, passed_over(FilterKind.NFQUEUE))) == "grant BPF; or make room"


def test_xdp_in_place_of_tc_is_no_last_resort_and_neither_is_a_queue_that_was_asked_for():
    assert not FilterChoice(kind=FilterKind.XDP, why="", passed_over=(passed_over(FilterKind.TC),)).degraded
    assert not FilterChoice(kind=FilterKind.NFQUEUE, why="the farm file wants it").degraded


@pytest.mark.parametrize("wanted", ["auto", "xdp", "tc", "nfqueue"])
@pytest.mark.parametrize("kind", [None, "veth"])
def test_every_filter_that_comes_after_another_has_its_price(wanted, kind):
    before = []
    for found in kinds(wanted, kind):
        assert bool(FilterChoice(kind=found, why="", passed_over=tuple(before)).cost) == bool(before)
        before.append(passed_over(found))


def test_the_filter_goes_to_the_first_place_when_it_is_free():
    assert place_for([], NAME) == Attachment(priority=1, handle=1)
    assert place_for([bpf(49152, "other")], NAME) == Attachment(priority=1, handle=1)


def test_the_filter_goes_as_far_ahead_as_there_is_room():
    rows = [bpf(1, "first"), bpf(2, "second"), bpf(7, "later")]
    assert place_for(rows, NAME) == Attachment(priority=3, handle=1)
    assert ahead_of(rows, 3) == ("bpf first at priority 1", "bpf second at priority 2")


def test_a_filter_left_by_a_killed_process_is_replaced_where_it_is():
    rows = [FilterRow(priority=5, handle=0, kind="bpf"), bpf(5, NAME, handle=7)]
    assert own_row(rows, NAME) == rows[1]
    assert place_for(rows, NAME) == Attachment(priority=5, handle=7)


def test_a_filter_of_another_farm_keeps_its_place_and_is_no_stranger():
    rows = [bpf(1, "hcsidecar:mail")]
    assert place_for(rows, NAME) == Attachment(priority=2, handle=1)
    assert ahead_of(rows, 2) == ()


def test_another_kind_of_filter_is_not_ours_whatever_it_is_called():
    assert own_row([FilterRow(priority=1, handle=1, kind="u32", name=NAME)], NAME) is None


def test_filters_behind_are_no_strangers_and_one_ahead_is_named_once():
    table = FilterRow(priority=1, handle=0x80000000, kind="u32")
    rows = [FilterRow(priority=1, handle=0, kind="u32"), table, FilterRow(priority=1, handle=0x80000800, kind="u32")]
    assert ahead_of([*rows, bpf(9, "behind")], 2) == ("u32 at priority 1",)


def test_a_name_is_as_long_as_the_kernel_takes():
    assert filter_name("apache") == NAME
    assert len(filter_name("ä" * 300).encode()) == 254
