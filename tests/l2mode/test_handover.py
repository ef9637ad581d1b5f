"""Phases of buckets: nothing opens but by a claim, everything narrows at once, and dirt is admitted."""

from functools import reduce
from operator import or_

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from l2mode.core.buckets import masks, owners
from l2mode.core.cells import NOBODY, PASS_ON, PENDING
from l2mode.core.handover import BucketState, Handover, HeardNode, director_of
from l2mode.core.heard_share import HeardShare

COUNT = 64
ALL = (1 << COUNT) - 1
ALONE = (("web1", (1,)),)
PAIR = (("web1", (1,)), ("web2", (1,)))
WITHOUT = (("web2", (1,)),)
OTHERS = (("web2", (1,)), ("web3", (1,)))
WEB1_OF_PAIR = masks({"web1": 1, "web2": 1}, COUNT)["web1"]


def handover(groups=1, **more):
    return Handover(name="web1", groups=groups, count=COUNT, **more)


def serving(view):
    share = handover()
    share.adopt(view)
    share.claim()
    share.renew(10.0)
    share.scanned([0], drops=share.drops)
    return share


def test_a_new_one_holds_nothing_and_its_lease_is_over():
    share = handover()
    assert not share.holding
    assert share.fractions(now=0.0) == (0.0,)
    assert share.phase(0, 5) is BucketState.OTHER


def test_what_a_view_gives_is_pending_until_it_is_claimed():
    share = handover()
    share.adopt(ALONE)
    assert (share.mine(0), share.pending(0), share.holding) == (0, ALL, False)
    assert share.phase(0, 5) is BucketState.PENDING
    share.claim()
    assert (share.mine(0), share.pending(0), share.holding) == (ALL, 0, True)
    assert share.phase(0, 5) is BucketState.MINE


def test_what_a_view_takes_is_dropped_at_once_and_the_rest_goes_on():
    share = serving(ALONE)
    share.adopt(PAIR)
    assert (share.mine(0), share.pending(0)) == (WEB1_OF_PAIR, 0)


def test_what_a_view_gives_anew_leaves_the_rest_uninterrupted():
    share = serving(PAIR)
    share.adopt(ALONE)
    assert (share.mine(0), share.pending(0)) == (WEB1_OF_PAIR, ALL & ~WEB1_OF_PAIR)
    assert not share.dirty


@pytest.mark.parametrize("view", [(), WITHOUT])
def test_out_of_the_view_nothing_is_held(view):
    share = serving(PAIR)
    share.adopt(view)
    assert (share.mine(0), share.pending(0), share.holding) == (0, 0, False)


def test_a_release_keeps_what_the_view_gives_pending():
    share = serving(PAIR)
    share.release()
    assert (share.mine(0), share.pending(0), share.holding) == (0, WEB1_OF_PAIR, False)
    share.claim()
    assert share.mine(0) == WEB1_OF_PAIR


def test_the_filter_takes_until_the_lease_ends_and_not_at_its_end():
    share = serving(ALONE)
    assert share.fractions(now=9.999) == (1.0,)
    assert share.fractions(now=10.0) == (0.0,)


def test_a_group_has_powers_of_its_own():
    share = handover(groups=2)
    share.adopt((("web1", (1, 0)), ("web2", (0, 1))))
    share.claim()
    share.renew(10.0)
    assert share.fractions(now=0.0) == (1.0, 0.0)
    assert set(share.owners(1)) == {"web2"}


def test_a_member_that_lacks_a_group_takes_nothing_of_it():
    share = handover(groups=2)
    share.adopt((("web1", (1, 1)), ("web2", (1,))))
    assert share.pending(1) == ALL


def test_who_stands_by_in_every_group_does_not_direct():
    views = [((64, 64), (1, 1)), ((64, 1), (1, 1))]
    found = [
        {director_of((("web1", one), ("web2", other)), bytes([host])) for host in range(32)} for one, other in views
    ]
    assert found == [{"web1"}, {"web1", "web2"}]


def test_a_view_of_another_farm_file_has_a_director_all_the_same():
    assert director_of((("web1", ()), ("web2", (0, 1)), ("web3", (0,))), b"x") == "web2"


def test_every_member_that_owns_buckets_may_direct_whatever_its_power():
    share = handover()
    share.adopt((("web1", (60,)), ("web2", (1,))))
    directors = {share.director(bytes([host])) for host in range(32)}
    assert directors == {"web1", "web2"}
    share.adopt(())
    assert share.director(b"x") is None


def test_who_has_just_started_is_dirty_until_its_sockets_were_looked_at():
    share = handover()
    assert share.dirty
    assert not share.scanned([0], drops=share.drops)
    assert not share.dirty


def test_who_drops_buckets_is_dirty_from_that_moment():
    share = serving(ALONE)
    share.adopt(PAIR)
    assert share.dirty


def test_who_drops_nothing_stays_clean():
    share = serving(PAIR)
    share.adopt(PAIR)
    share.adopt(ALONE)
    assert not share.dirty


def test_connections_in_buckets_of_others_make_dirty():
    share = serving(PAIR)
    assert not share.scanned([WEB1_OF_PAIR], drops=share.drops)
    assert share.scanned([ALL], drops=share.drops)


def test_connections_in_pending_buckets_make_dirty():
    """Another member could hold them by a view of its own."""
    share = serving(PAIR)
    share.release()
    assert share.scanned([WEB1_OF_PAIR], drops=share.drops)


def test_a_scan_from_before_the_last_drop_clears_nobody():
    share = serving(ALONE)
    began = share.drops
    share.adopt(PAIR)
    share.claim()
    assert share.scanned([0], drops=began)
    assert not share.scanned([0], drops=share.drops)


def test_a_scan_clears_nobody_before_the_view_is_claimed():
    """Until then a member may still hand over new connections by its former view."""
    share = serving(ALONE)
    share.adopt(PAIR)
    assert share.scanned([0], drops=share.drops)
    share.claim()
    assert not share.scanned([0], drops=share.drops)


def test_a_scan_from_before_the_claim_clears_nobody():
    share = serving(ALONE)
    share.adopt(PAIR)
    began = share.drops
    share.claim()
    assert share.scanned([0], drops=began)


def test_out_of_the_view_a_scan_clears():
    share = serving(ALONE)
    share.adopt(())
    assert not share.scanned([0], drops=share.drops)


def test_the_cells_of_the_filter_name_owners_and_what_is_pending():
    numbers = {"web1": 0, "web2": 1}
    share = Handover(name="web2", count=COUNT)
    assert share.cells(0, numbers) == bytes([NOBODY]) * COUNT
    share.adopt((("web2", (1,)),))
    share.claim()
    assert share.cells(0, numbers) == bytes([1]) * COUNT
    share.adopt(PAIR)
    assert [cell == 1 for cell in share.cells(0, numbers)] == [owner == "web2" for owner in share.owners(0)]
    share.release()
    assert [cell == PENDING for cell in share.cells(0, numbers)] == [o == "web2" for o in share.owners(0)]


def test_the_cells_tell_what_is_open_from_what_is_new_and_pending():
    numbers = {"web1": 0, "web2": 1}
    share = Handover(name="web2", count=COUNT)
    share.adopt(PAIR)
    share.claim()
    open_before = share.mine(0)
    share.adopt((("web2", (1,)),))
    cells = share.cells(0, numbers)
    assert set(cells) == {1, PENDING}
    assert all((cell == 1) == bool(open_before >> bucket & 1) for bucket, cell in enumerate(cells))


def test_the_cells_of_a_node_out_of_the_view_name_the_owners_of_the_others_to_whom_it_passes_on():
    numbers = {"web1": 0, "web2": 1, "web3": 2}
    share = Handover(name="web3", count=COUNT)
    view = (("web1", (1,)), ("web2", (1,)))
    cells = share.cells_of_others(view, 0, numbers)
    names = {PASS_ON: "web1", PASS_ON + 1: "web2"}
    assert tuple(names[cell] for cell in cells) == owners({"web1": 1, "web2": 1}, COUNT)
    # Members of another farm file, with fewer shares, or with names that are not known here.
    assert share.cells_of_others(view, 1, numbers) == bytes([NOBODY]) * COUNT
    assert set(share.cells_of_others((*view, ("web9", (1,))), 0, numbers)) == set(names)


def test_neighbours_are_kept_in_the_order_of_their_names():
    share = handover()
    share.meet(
        [
            HeardShare(name="web3", mac=b"3", dirty=True, dirty_buckets=b"\x06", view=ALONE, claimed=False),
            HeardShare(name="web2", mac=b"", dirty=False, dirty_buckets=b"", view=(), claimed=True),
        ]
    )
    assert share.neighbours == (
        HeardNode(name="web2", mac=b"", dirty_buckets=0),
        HeardNode(name="web3", mac=b"3", dirty_buckets=6, view=ALONE, claimed=False),
    )


def test_the_view_of_others_is_the_largest_that_a_neighbour_announces():
    share = handover()
    assert share.view_of_others() == ()
    views = {"web2": WITHOUT, "web3": OTHERS, "web4": ALONE}
    share.meet(
        [
            HeardShare(name=name, mac=b"", dirty=False, dirty_buckets=b"", view=view, claimed=True)
            for name, view in views.items()
        ]
    )
    assert share.view_of_others() == OTHERS


def test_the_view_of_others_is_without_this_node_though_they_may_not_know_yet_that_it_has_left():
    share = handover()
    share.meet([HeardShare(name="web2", mac=b"", dirty=False, dirty_buckets=b"", view=PAIR, claimed=True)])
    assert share.view_of_others() == WITHOUT


nodes = ("web1", "web2", "web3")
views = st.dictionaries(st.sampled_from(nodes), st.tuples(st.integers(0, 3), st.integers(0, 3))).map(
    lambda farm: tuple(sorted(farm.items()))
)


class HandoverMachine(RuleBasedStateMachine):
    """Whatever is said in whatever order: only `claim` opens, and only what the view gives."""

    directed = False

    def __init__(self):
        super().__init__()
        self.share = Handover(name="web1", groups=2, count=COUNT, directed=self.directed)
        self.view = ()

    def given(self, group):
        return masks({name: powers[group] for name, powers in self.view}, COUNT).get("web1", 0)

    @rule(view=views)
    def adopt(self, view):
        before = [self.share.mine(group) for group in (0, 1)]
        self.view = view
        self.share.adopt(view)
        assert [self.share.mine(group) for group in (0, 1)] == [before[g] & self.given(g) for g in (0, 1)]
        assert self.share.dirty or before == [self.share.mine(group) for group in (0, 1)]

    @rule()
    def claim(self):
        self.share.claim()
        assert [self.share.mine(group) for group in (0, 1)] == [self.given(0), self.given(1)]

    @rule()
    def release(self):
        held = self.share.holding
        self.share.release()
        assert not self.share.holding
        assert self.share.dirty or not held

    @precondition(lambda self: self.share.dirty)
    @rule()
    def claim_and_scan(self):
        self.share.claim()
        self.share.scanned([self.share.mine(0), self.share.mine(1)], drops=self.share.drops)
        assert self.share.dirty == self.share.moving

    @rule(said=st.dictionaries(st.sampled_from(nodes[1:]), st.tuples(views, st.booleans())))
    def meet(self, said):
        self.share.meet(
            [
                HeardShare(name=name, mac=b"", dirty=False, dirty_buckets=b"", view=view, claimed=claimed)
                for name, (view, claimed) in said.items()
            ]
        )

    @invariant()
    def what_is_taken_beside_what_is_mine_moves(self):
        for group in (0, 1):
            mine, taken = self.share.mine(group), self.share.taken(group)
            assert mine & taken == mine
            assert self.directed or taken == mine
            assert not taken & ~self.given(group) or (self.share.moving and self.share.dirty)
            # Nobody gets a reset for what is not claimed.
            suspects = self.share.dirty_members().values()
            assert not taken & ~mine & ~reduce(or_, suspects, 0)

    @invariant()
    def cells_say_what_is_taken(self):
        numbers = {name: number for number, name in enumerate(nodes)}
        for group in (0, 1):
            cells = self.share.cells(group, numbers)
            assert sum(1 << bucket for bucket, cell in enumerate(cells) if cell == 0) == self.share.taken(group)

    @invariant()
    def phases_are_disjoint_and_make_up_what_the_view_gives(self):
        for group in (0, 1):
            mine, pending = self.share.mine(group), self.share.pending(group)
            assert mine & pending == 0
            assert mine | pending == self.given(group)


class DirectedMachine(HandoverMachine):
    """In directed delivery buckets that move are taken too."""

    directed = True


TestHandoverMachine = HandoverMachine.TestCase
TestDirectedMachine = DirectedMachine.TestCase


@given(views, st.integers(0, 1), st.integers(0, COUNT - 1))
def test_the_phase_of_a_bucket_is_what_the_masks_say(view, group, bucket):
    share = Handover(name="web1", groups=2, count=COUNT)
    share.adopt(view)
    owner = share.owners(group)[bucket]
    assert (share.phase(group, bucket) is BucketState.PENDING) == (owner == "web1")
    share.claim()
    assert (share.phase(group, bucket) is BucketState.MINE) == (owner == "web1")


def test_a_look_tells_in_which_buckets_the_connections_are():
    share = serving(PAIR)
    share.scanned([ALL], drops=share.drops)
    assert share.dirty_buckets == (ALL & ~WEB1_OF_PAIR).to_bytes(8, "little")
    share.scanned([0], drops=share.drops)
    assert (share.dirty, share.dirty_buckets) == (False, b"")


def test_who_has_just_dropped_buckets_may_hold_connections_in_any():
    share = serving(ALONE)
    share.adopt(PAIR)
    assert (share.dirty, share.dirty_buckets) == (True, b"")
    share.scanned([1], drops=share.drops)
    assert share.dirty_buckets == b""


def test_a_neighbour_that_does_not_say_where_it_is_dirty_may_be_so_anywhere():
    share = handover()
    share.meet(
        [
            HeardShare(name="web2", mac=b"", dirty=True, dirty_buckets=b"", view=(), claimed=True),
            HeardShare(name="web3", mac=b"", dirty=True, dirty_buckets=bytes(8), view=(), claimed=True),
            HeardShare(name="web4", mac=b"", dirty=False, dirty_buckets=b"\x01", view=(), claimed=True),
        ]
    )
    assert [neighbour.dirty_buckets for neighbour in share.neighbours] == [ALL, ALL, 0]
    assert [neighbour.dirty for neighbour in share.neighbours] == [True, True, False]


def announced(name, view, **more):
    return HeardShare(name=name, mac=b"", **{"dirty": False, "dirty_buckets": b"", "claimed": True, **more}, view=view)


def share_of_two_groups(**more):
    """A node that has claimed its buckets in two groups, which it divides differently with web2."""
    share = Handover(name="web1", groups=2, count=64, settings=b"old", **more)
    view = (("web1", (1, 3)), ("web2", (1, 1)))
    share.meet([announced("web2", view, settings=b"old")])
    share.adopt(view)
    share.claim()
    return share


def test_a_node_that_takes_other_groups_keeps_the_buckets_of_the_same_traffic_and_drops_the_others():
    share = share_of_two_groups()
    first, second = share.mine(0), share.mine(1)
    share.regroup([1, None, 0], settings=b"new")
    assert [share.mine(group) for group in range(3)] == [second, 0, first]
    assert share.view == (("web1", (3, 0, 1)), ("web2", (1, 0, 1)))


def test_a_node_that_takes_other_groups_is_dirty_in_all_buckets_until_a_later_scan():
    share = share_of_two_groups()
    share.scanned([0, 0], drops=share.drops)
    began = share.drops
    assert not share.dirty
    share.regroup([0], settings=b"new")
    share.adopt((("web1", (1,)),))
    share.claim()
    assert share.scanned([0, 0], drops=began)
    assert share.dirty_buckets == b""
    assert not share.scanned([0], drops=share.drops)


def test_a_node_of_other_settings_counts_as_dirty_in_all_buckets_whatever_it_says():
    share = share_of_two_groups()
    for dirty, buckets in ((False, b""), (True, b"\x01")):
        share.meet([announced("web2", (), dirty=dirty, dirty_buckets=buckets, settings=b"new")])
        assert share.dirty_members() == {"web2": (1 << 64) - 1}
    share.meet([announced("web2", (), settings=b"old")])
    assert share.dirty_members() == {}


def test_of_a_view_of_other_settings_only_the_names_are_read():
    share = share_of_two_groups(directed=True)
    others = (("web2", (7,)), ("web3", (7,)))
    share.meet([announced("web2", others, settings=b"new")])
    assert share.view_of_others() == (("web2", (1, 1)), ("web3", ()))


def test_what_a_node_without_a_number_owns_has_no_owner_in_the_tables():
    share = share_of_two_groups(directed=True)
    share.adopt(())
    share.meet([announced("web2", (("web2", (1, 1)), ("web9", (1, 1))), settings=b"old")])
    share.claim()
    table = share.cells(0, {"web1": 0, "web2": 1})
    assert set(table) == {1, 255}


def test_a_move_goes_on_in_the_groups_of_the_same_traffic():
    share = share_of_two_groups(directed=True)
    mine = share.mine(1)
    share.regroup([1], settings=b"new")
    share.adopt(())
    assert share.moving
    assert share.taken(0) == mine
