"""The table of combinations: what `make test` tells is enough to meet every pair."""

from itertools import combinations

from lan.stories import ALL, IN_MAKE_TEST


def pairs(way):
    return set(combinations([way.delivery, way.packet_filter, way.family], 2))


def test_every_pair_of_delivery_filter_and_family_occurs_in_make_test():
    by_name = {str(way): way for way in ALL}
    told = [by_name[name] for names in IN_MAKE_TEST.values() for name in names]
    assert set().union(*map(pairs, told)) == set().union(*map(pairs, ALL))
