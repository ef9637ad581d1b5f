import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.membership.connectivity import Connectivity, bits

SIZE = 6
graphs = st.lists(st.integers(0, 2**SIZE - 1), min_size=SIZE, max_size=SIZE)


def hearing_of(masks):
    hearing = Connectivity(len(masks))
    for listener, mask in enumerate(masks):
        hearing.set_heard(listener, mask & ~(1 << listener))
    return hearing


@given(graphs, graphs)
def test_an_edge_is_hearing_and_being_heard_whatever_was_set_before(first, second):
    hearing = hearing_of(first)
    for listener, mask in enumerate(second):
        hearing.set_heard(listener, mask)
    for node in range(SIZE):
        heard_by = sum(1 << i for i in range(SIZE) if second[i] >> node & 1)
        assert hearing.edges(node) == second[node] & heard_by


@given(graphs, st.integers(0, 2**SIZE - 1))
def test_the_greedy_clique_is_a_clique_that_nobody_can_be_added_to(masks, candidates):
    hearing = hearing_of(masks)
    clique = hearing.greedy_clique(candidates)
    assert clique & ~candidates == 0
    assert hearing.is_clique(clique)
    for other in bits(candidates & ~clique):
        assert not hearing.is_clique(clique | 1 << other)


@given(graphs, st.integers(0, 2**SIZE - 1))
def test_a_clique_is_mutual_hearing_of_each_pair(masks, members):
    hearing = hearing_of(masks)
    pairs = [(a, b) for a in bits(members) for b in bits(members) if a != b]
    assert hearing.is_clique(members) == all(hearing.hears(a) >> b & 1 for a, b in pairs)


def test_of_a_pair_in_which_only_one_hears_the_other_the_deaf_one_is_preferred():
    hearing = Connectivity(2)
    hearing.set_heard(0, 0b10)
    assert hearing.greedy_clique(0b11) == 0b10


def test_of_equals_the_lower_names_come_first():
    assert Connectivity(3).greedy_clique(0b111) == 0b001


@pytest.mark.parametrize(("mask", "positions"), [(0, []), (0b1, [0]), (0b1011, [0, 1, 3])])
def test_bits_lists_positions(mask, positions):
    assert bits(mask) == positions
