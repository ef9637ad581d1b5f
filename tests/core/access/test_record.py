"""The record of users and tokens: two records become one, in whichever order, and nobody who was removed comes back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.access.record import (
    MOST_REMOVED,
    MOST_SESSION_KEYS,
    SESSION_KEY_LIFE,
    AccessRecord,
    ChangeStamp,
    SessionKey,
    TokenEntry,
    UserEntry,
    decode_record,
    encode_record,
    removed_user,
)
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.json_reading import JsonError

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
OTHER_HASH = HASH[:-1] + "i"

stamps = st.builds(ChangeStamp, st.integers(0, 4), st.integers(0, 3), st.sampled_from(["web1", "web2"]))
roles = st.sampled_from(AccessRole)


@st.composite
def users(draw):
    born = draw(stamps)
    if draw(st.booleans()):
        return removed_user(born, draw(stamps))
    return UserEntry(
        born=born,
        role=draw(roles),
        role_set=draw(stamps),
        password=draw(st.sampled_from([HASH, OTHER_HASH])),
        password_set=draw(stamps),
    )


tokens = st.builds(
    TokenEntry,
    name=st.sampled_from(["ci", "backup"]),
    role=roles,
    secret_sha256=st.sampled_from(["0" * 64, "1" * 64]),
    made=stamps,
    expires_at=st.none() | st.integers(0, 3),
    revoked=st.none() | stamps,
)
ids = st.sampled_from(["0" * 16, "1" * 16, "2" * 16])
session_keys = st.builds(SessionKey, key=st.sampled_from(["a" * 64, "b" * 64]), made_at=st.integers(0, 9))
records = st.builds(
    AccessRecord,
    users=st.dictionaries(st.sampled_from(["alice", "bob"]), users()),
    tokens=st.dictionaries(ids, tokens),
    last_used=st.dictionaries(ids, st.integers(0, 9)),
    session_keys=st.dictionaries(ids, session_keys),
    sessions_from=st.integers(0, 5),
).map(lambda record: record.merged(AccessRecord()))


@given(records, records)
def test_it_does_not_matter_which_of_two_records_is_merged_with_which(one, other):
    assert one.merged(other) == other.merged(one)


@given(records, records, records)
def test_it_does_not_matter_in_which_order_records_are_merged(one, two, three):
    assert one.merged(two).merged(three) == one.merged(two.merged(three))


@given(records, records)
def test_a_record_that_is_merged_again_changes_nothing(one, other):
    merged = one.merged(other)
    assert merged.merged(one) == merged
    assert merged.merged(merged) == merged


@given(records, records)
def test_equal_records_have_one_digest_and_others_have_another(one, other):
    assert (one.digest == other.digest) == (one == other)
    assert decode_record(encode_record(one)) == one


@given(records, st.lists(records, max_size=4))
def test_a_removed_user_never_comes_back_but_by_another_birth(record, others):
    gone = {name: user.born for name, user in record.users.items() if user.removed is not None}
    for other in others:
        record = record.merged(other)
    assert all(record.users[name].removed is not None or record.users[name].born > born for name, born in gone.items())


@given(records, st.lists(records, max_size=4))
def test_a_revoked_token_stays_revoked_and_no_token_lives_longer_than_it_was_made_for(record, others):
    revoked = {name for name, token in record.tokens.items() if token.revoked is not None}
    ends = [token.expires_at for each in (record, *others) for token in each.tokens.values()]
    for other in others:
        record = record.merged(other)
    assert all(record.tokens[name].revoked is not None for name in revoked)
    assert all(token.expires_at in ends for token in record.tokens.values())


@given(records, records)
def test_what_is_changed_after_a_merge_is_not_undone_by_what_was_merged(one, other):
    merged = one.merged(other)
    later = merged.stamp(node="web1", now=0)
    for name, user in merged.present_users.items():
        changed = msgspec.structs.replace(
            user, role=AccessRole.CONTROL, role_set=later, password=HASH, password_set=later
        )
        record = merged.merged(AccessRecord(users={name: changed}))
        assert record.merged(one).merged(other).users[name] == changed


def stamp(counter, node="web1"):
    return ChangeStamp(counter, 100, node)


ALICE = UserEntry(born=stamp(1), role=AccessRole.ADMIN, role_set=stamp(1), password=HASH, password_set=stamp(1))


def test_role_and_password_that_were_changed_on_two_nodes_are_both_changed():
    demoted = msgspec.structs.replace(ALICE, role=AccessRole.MONITOR, role_set=stamp(2))
    busy = msgspec.structs.replace(ALICE, password=OTHER_HASH, password_set=stamp(9, "web2"))
    both = AccessRecord(users={"alice": demoted}).merged(AccessRecord(users={"alice": busy})).users["alice"]
    assert (both.role, both.password) == (AccessRole.MONITOR, OTHER_HASH)


def test_a_removal_wins_over_what_a_node_that_had_not_heard_of_it_changed_later():
    gone = AccessRecord(users={"alice": removed_user(stamp(1), stamp(2))})
    busy = AccessRecord(users={"alice": msgspec.structs.replace(ALICE, password_set=stamp(9, "web2"))})
    assert busy.merged(gone).present_users == {}
    again = msgspec.structs.replace(ALICE, born=stamp(3), role_set=stamp(3), password_set=stamp(3))
    assert list(busy.merged(gone).merged(AccessRecord(users={"alice": again})).present_users) == ["alice"]


def test_each_change_of_a_user_makes_another_epoch():
    epochs = {
        ALICE.epoch,
        msgspec.structs.replace(ALICE, role_set=stamp(2)).epoch,
        msgspec.structs.replace(ALICE, password_set=stamp(2)).epoch,
        msgspec.structs.replace(ALICE, born=stamp(2)).epoch,
        removed_user(stamp(1), stamp(2)).epoch,
    }
    assert len(epochs) == 5


def test_removed_users_are_kept_up_to_a_number_and_the_first_ones_are_forgotten_first():
    users = {f"user{number}": removed_user(stamp(1), stamp(number + 2)) for number in range(MOST_REMOVED + 3)}
    kept = AccessRecord(users={**users, "alice": ALICE}).pruned(now=0).users
    assert len(kept) == MOST_REMOVED + 1
    assert "alice" in kept
    assert {"user0", "user1", "user2"}.isdisjoint(kept)


def test_a_revoked_token_is_forgotten_once_it_has_expired_or_when_there_are_too_many():
    def token(expires_at=None, revoked=None):
        return TokenEntry(
            name="ci",
            role=AccessRole.MONITOR,
            secret_sha256="0" * 64,
            made=stamp(1),
            expires_at=expires_at,
            revoked=revoked,
        )

    there = AccessRecord(
        tokens={"0" * 16: token(50, stamp(2)), "1" * 16: token(None, stamp(3)), "2" * 16: token(50)},
        last_used={"0" * 16: 7, "1" * 16: 8},
    )
    assert there.pruned(now=49) == there
    later = there.pruned(now=50)
    assert list(later.tokens) == ["1" * 16, "2" * 16]
    assert later.last_used == {"1" * 16: 8}
    many = {f"{number:016x}": token(None, stamp(number + 2)) for number in range(MOST_REMOVED + 1)}
    assert "0" * 16 not in AccessRecord(tokens=many).pruned(now=0).tokens


def test_only_the_newest_session_keys_are_kept_none_for_longer_than_its_life_and_none_that_was_made_void():
    keys = {f"{number:016x}": SessionKey(key="a" * 64, made_at=number) for number in range(MOST_SESSION_KEYS + 5)}
    merged = AccessRecord(session_keys=keys).merged(AccessRecord())
    assert sorted(key.made_at for key in merged.session_keys.values()) == list(range(5, MOST_SESSION_KEYS + 5))
    assert [key.made_at for key in merged.merged(AccessRecord(sessions_from=20)).session_keys.values()] == [20]
    assert [key.made_at for key in merged.pruned(now=SESSION_KEY_LIFE + 19).session_keys.values()] == [20]
    assert "a" * 64 not in repr(keys)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"users":{"Alice":{}}}',
        b'{"users":{"alice":{}}}',
        b'{"users":{"alice@web1":{"born":[1,1,"a"],"role_set":[1,1,"a"],"password_set":[1,1,"a"]}}}',
        b'{"users":{"alice":{"born":[-1,1,"a"],"role_set":[1,1,"a"],"password_set":[1,1,"a"]}}}',
        b'{"users":{"alice":{"born":[1,1,"a"],"role_set":[1,1,"a"],"password_set":[1,1,"a"],"password":"secret"}}}',
        b'{"sessions_from":1e400}',
        b"[" * 100_000,
        b" " * 3_000_000,
    ],
)
def test_what_is_no_record_is_told_and_never_raises_anything_else(content):
    with pytest.raises(JsonError):
        decode_record(content)
