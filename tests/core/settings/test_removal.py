"""The notice that a farm has removed a node: who can make one, and who believes it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.settings.messages import Lineage
from hcsidecar.core.settings.removal import (
    LONGEST_NOTICE,
    decode_notice,
    encode_notice,
    is_proof,
    latest_removal,
    removal_notice,
)
from hcsidecar.core.settings.revision import RevisionId

FIRST, SECOND, THIRD = (RevisionId(number, letter * 64) for number, letter in ((1, "a"), (2, "b"), (3, "c")))
LINEAGE = Lineage(settled=SECOND, ancestors=(FIRST,))


class Keys:
    """Keys by their ids."""

    def __init__(self, *ids):
        self.ids = ids

    def derive(self, purpose, key_id, info):
        return f"{purpose} {key_id} {info}".encode()


def notice(*ids, farm="apache", node="web3", lineage=LINEAGE):
    return removal_notice(farm, node, lineage, Keys(*ids))


def proves(made, *ids, farm="apache", node="web3"):
    return is_proof(made, farm=farm, node=node, keys=Keys(*ids))


def test_a_node_that_has_one_of_the_keys_of_then_believes_it():
    made = notice(1, 2)
    assert proves(made, 1)
    assert proves(made, 2, 9)
    assert decode_notice(encode_notice(made)) == made
    assert made.lineage == LINEAGE


def test_nobody_believes_it_without_such_a_key_or_of_another_farm_or_node():
    made = notice(1)
    assert not proves(made, 2)
    assert not proves(made, 1, farm="nginx")
    assert not proves(made, 1, node="web2")
    assert not proves(notice(), 1)


@pytest.mark.parametrize(
    "change",
    [{"settled": THIRD}, {"ancestors": ()}, {"seals": {"00000001": "0" * 64}}],
    ids=lambda change: next(iter(change)),
)
def test_a_notice_that_was_changed_proves_nothing(change):
    assert not proves(msgspec.structs.replace(notice(1), **change), 1)


def test_of_several_the_latest_that_is_proved_counts():
    later = Lineage(settled=THIRD, ancestors=(FIRST, SECOND))
    contents = [
        encode_notice(notice(1)),
        encode_notice(notice(1, lineage=later)),
        encode_notice(notice(2, lineage=Lineage(settled=RevisionId(9, "f" * 64), ancestors=()))),
        b"nonsense",
    ]
    assert latest_removal(contents, farm="apache", node="web3", keys=Keys(1)) == later
    assert latest_removal([], farm="apache", node="web3", keys=Keys(1)) is None


@given(st.binary(max_size=300))
def test_bytes_of_strangers_are_no_notice(content):
    assert decode_notice(content) is None


def test_what_is_too_long_is_no_notice():
    assert decode_notice(encode_notice(notice(1)) + b" " * LONGEST_NOTICE) is None
