"""Buckets on the move in directed delivery: somebody takes at every moment, and nobody gets a reset."""

import pytest

from l2mode.core.buckets import masks
from l2mode.core.cells import NOBODY, PENDING
from l2mode.core.handover import Handover
from l2mode.core.heard_share import HeardShare
from l2mode.core.transit import _owned_of

COUNT = 64
ALL = (1 << COUNT) - 1
NUMBERS = {"web1": 0, "web2": 1, "web3": 2}
FARM = tuple((name, (1,)) for name in NUMBERS)
SHARES = masks(dict.fromkeys(NUMBERS, 1), COUNT)


def without(*leavers):
    return tuple(member for member in FARM if member[0] not in leavers)


def shares_without(*leavers):
    return masks({name: 1 for name in NUMBERS if name not in leavers}, COUNT)


def says(name, view, *, claimed=True, dirty=False, **more):
    return HeardShare(name, name.encode(), dirty=dirty, dirty_buckets=b"", view=view, claimed=claimed, **more)


def others(name, view, **more):
    return [says(other, view, **more) for other in NUMBERS if other != name]


def serving(name, view=FARM, **more):
    """One that has claimed its share of a view, as all others have."""
    share = Handover(name=name, count=COUNT, directed=True, **more)
    share.meet(others(name, view))
    share.adopt(view)
    share.claim()
    share.scanned([0], drops=share.drops)
    return share


def owned(share, number):
    return sum(1 << bucket for bucket, cell in enumerate(share.cells(0, NUMBERS)) if cell == number)


# The former owner


def test_who_leaves_the_view_takes_what_it_had_until_all_others_have_claimed_a_view_without_it():
    share = serving("web1")
    share.adopt(())
    for heard in (
        others("web1", FARM),
        [says("web2", without("web1"), claimed=False), says("web3", FARM)],
        [says("web2", without("web1")), says("web3", without("web1"), claimed=False)],
    ):
        share.meet(heard)
        assert (share.mine(0), share.taken(0), share.moving, share.holding) == (0, SHARES["web1"], True, True)
    assert share.meet(others("web1", without("web1")))
    assert (share.taken(0), share.moving, share.holding) == (0, False, False)


def test_who_stays_takes_what_it_has_lost_until_all_have_claimed_the_same_view():
    share = serving("web1", without("web3"))
    lost = shares_without("web3")["web1"] & ~SHARES["web1"]
    share.adopt(FARM)
    assert share.taken(0) == SHARES["web1"] | lost
    share.meet(others("web1", FARM))
    assert share.taken(0) == SHARES["web1"] | lost
    share.meet([says("web2", FARM), says("web3", FARM, claimed=False)])
    share.claim()
    assert share.taken(0) == SHARES["web1"] | lost
    share.meet(others("web1", FARM))
    assert share.taken(0) == SHARES["web1"]


def test_nobody_is_waited_for_who_takes_no_share():
    share = serving("web1")
    share.adopt(())
    share.meet([says("web2", without("web1", "web3")), says("web3", ())])
    assert not share.moving


def test_who_is_out_takes_what_it_had_while_nobody_has_a_view_and_somebody_would_take_a_share():
    share = serving("web1")
    share.adopt(())
    share.meet([says("web2", (), would_take=True), says("web3", ())])
    assert share.taken(0) == SHARES["web1"]
    share.meet([says("web2", without("web1", "web3"), would_take=True), says("web3", ())])
    assert share.taken(0) == 0


def test_the_last_one_that_serves_lets_go_at_once():
    share = serving("web1")
    share.adopt(())
    share.meet(others("web1", ()))
    assert (share.taken(0), share.moving) == (0, False)


def test_a_node_without_others_lets_go_at_once():
    share = serving("web1", without("web2", "web3"))
    share.meet([])
    share.adopt(())
    assert (share.taken(0), share.moving) == (0, False)


def test_a_release_closes_all_that_moves_at_once():
    share = serving("web1")
    share.adopt(())
    drops = share.drops
    share.release()
    assert (share.taken(0), share.holding, share.dirty) == (0, False, True)
    assert share.drops > drops


def test_a_release_makes_dirty_who_took_what_was_given_to_it():
    share = Handover(name="web3", count=COUNT, directed=True)
    share.scanned([0], drops=share.drops)
    share.meet(others("web3", without("web3")))
    share.adopt(FARM)
    share.release()
    assert (share.taken(0), share.dirty) == (0, True)


def test_the_former_owner_is_dirty_until_a_look_that_begins_after_the_move():
    share = serving("web1")
    share.adopt(())
    during = share.drops
    assert share.scanned([0], drops=during)
    share.meet(others("web1", without("web1")))
    assert share.scanned([0], drops=during)
    assert not share.scanned([0], drops=share.drops)


# The new owner


def test_the_new_owner_takes_what_a_living_member_had_before_it_may_claim():
    share = serving("web2")
    share.meet([says("web1", ()), says("web3", FARM)])
    share.adopt(without("web1"))
    given = shares_without("web1")["web2"]
    assert (share.mine(0), share.taken(0)) == (SHARES["web2"], given)
    assert PENDING not in share.cells(0, NUMBERS)
    share.claim()
    assert (share.mine(0), share.taken(0)) == (given, given)


def test_what_a_dead_member_had_is_taken_by_nobody_before_the_claim():
    share = serving("web2")
    share.meet([says("web3", FARM)])
    share.adopt(without("web1"))
    assert share.taken(0) == SHARES["web2"]
    assert owned(share, PENDING) == shares_without("web1")["web2"] & ~SHARES["web2"]


def test_who_joins_takes_what_the_members_that_it_hears_have_had():
    share = Handover(name="web3", count=COUNT, directed=True)
    share.meet(others("web3", without("web3")))
    share.adopt(FARM)
    assert (share.mine(0), share.taken(0)) == (0, SHARES["web3"])


def test_a_farm_that_begins_takes_nothing_before_its_claims():
    share = Handover(name="web1", count=COUNT, directed=True)
    share.meet(others("web1", ()))
    share.adopt(FARM)
    assert share.taken(0) == 0


def test_what_was_released_is_not_taken_again_before_the_claim():
    share = serving("web1")
    share.release()
    share.adopt(without("web3"))
    assert share.taken(0) & SHARES["web1"] == 0


def test_what_comes_back_before_the_move_is_over_was_taken_all_the_time():
    share = serving("web1")
    share.adopt(())
    share.adopt(FARM)
    assert share.taken(0) == SHARES["web1"]


# The others


def test_others_send_to_the_former_owner_until_the_new_one_has_adopted_the_view():
    share = serving("web3")
    share.meet([says("web1", ()), says("web2", FARM)])
    share.adopt(without("web1"))
    new = shares_without("web1")
    assert owned(share, NUMBERS["web1"]) == SHARES["web1"] & new["web2"]
    share.meet([says("web1", ()), says("web2", without("web1"), claimed=False)])
    assert owned(share, NUMBERS["web1"]) == 0
    assert owned(share, NUMBERS["web2"]) == new["web2"]


def test_others_send_nothing_to_a_former_owner_that_is_dead():
    share = serving("web3")
    share.meet([says("web2", FARM)])
    share.adopt(without("web1"))
    assert owned(share, NUMBERS["web1"]) == 0


def test_who_is_out_of_the_view_sends_on_by_the_view_of_the_others():
    share = serving("web1")
    share.adopt(())
    share.meet(others("web1", without("web1")))
    cells = share.cells(0, NUMBERS)
    assert (NOBODY in cells, owned(share, NUMBERS["web2"])) == (False, shares_without("web1")["web2"])


def test_who_is_out_of_the_view_follows_the_view_of_the_others_for_as_long_as_it_is_out():
    share = serving("web1")
    share.adopt(())
    share.meet(others("web1", without("web1")))
    assert not share.meet(others("web1", without("web1"), dirty=True))
    assert share.meet([says("web3", without("web1", "web2"))])
    assert owned(share, NUMBERS["web3"]) == ALL


def test_a_member_that_sees_nothing_new_turns_no_tables():
    share = serving("web3")
    assert not share.meet(others("web3", FARM, dirty=True))
    share.adopt(without("web1"))
    up = [says("web1", ()), says("web2", without("web1"), claimed=False)]
    assert share.meet(up)
    assert not share.meet(up)


# No resets meanwhile


def test_former_and_new_owner_suspect_each_other():
    new = serving("web2")
    new.meet([says("web1", ()), says("web3", FARM)])
    new.adopt(without("web1"))
    moving = shares_without("web1")["web2"] & ~SHARES["web2"]
    assert new.dirty_members() == {"web1": moving}
    former = serving("web1")
    former.adopt(())
    former.meet([says("web2", without("web1"), claimed=False), says("web3", FARM)])
    left = shares_without("web1")
    assert former.dirty_members() == {name: left[name] & SHARES["web1"] for name in ("web2", "web3")}


def test_what_nobody_else_may_know_gets_no_reset_either():
    """Where the others have no power."""
    alone = (("web1", (1,)), ("web2", (0,)))
    share = serving("web1", alone)
    share.adopt(())
    assert (share.taken(0), share.dirty_members()) == (ALL, {"web1": ALL})
    share.meet(others("web1", alone[1:]))
    assert share.dirty_members() == {}


def test_dirty_members_stay_dirty_beside_the_suspects():
    share = serving("web2")
    share.meet([says("web1", (), dirty=True), says("web3", FARM)])
    share.adopt(without("web1"))
    assert share.dirty_members() == {"web1": ALL}
    # The filter's tables are written more often than anything changes.
    assert share.dirty_members() == {"web1": ALL}


@pytest.mark.parametrize("buckets", [0, 1 << 5 | 1 << 63, ALL >> 3, ALL])
@pytest.mark.parametrize("powers", [{}, {"web1": 0}, {"web2": 1, "web1": 3, "web3": 0}])
def test_what_members_own_of_some_buckets_is_what_their_masks_say(buckets, powers):
    wanted = {name: mask & buckets for name, mask in masks(powers, COUNT).items() if mask & buckets}
    assert _owned_of(buckets, powers, COUNT) == wanted


# Flooded delivery


@pytest.mark.parametrize("view", [(), without("web3"), without("web1")])
def test_in_flooded_delivery_nothing_is_taken_but_what_is_claimed(view):
    share = Handover(name="web1", count=COUNT)
    share.meet(others("web1", FARM))
    share.adopt(FARM)
    share.claim()
    share.adopt(view)
    assert (share.taken(0), share.moving) == (share.mine(0), False)
    assert share.dirty_members() == {}
