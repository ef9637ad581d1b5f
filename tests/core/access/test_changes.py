"""Changes of users and tokens: what is taken, what is refused and why, and the line that is told of each."""

import msgspec
import pytest

from hcsidecar.core.access.changes import (
    LAST_USED_STEP,
    AccessRefusal,
    add_token,
    add_user,
    changes_in_words,
    decide,
    end_sessions,
    new_session_key,
    note_uses,
    remove_user,
    revoke_token,
    set_password,
    set_role,
    why_not_token_name,
    why_not_user_name,
)
from hcsidecar.core.access.documents import (
    EndSessionsBody,
    PasswordBody,
    RemoveBody,
    RevokeBody,
    RoleBody,
    TokenBody,
    UserBody,
    access_report,
)
from hcsidecar.core.access.record import MOST_TOKENS, MOST_USERS, AccessRecord
from hcsidecar.core.access.roles import AccessRole

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
NOW = 1_790_000_000
MONITOR, CONTROL, ADMIN = AccessRole.MONITOR, AccessRole.CONTROL, AccessRole.ADMIN


def here(**more):
    return {"node": "web1", "now": NOW} | more


def after(record, *changes):
    """Give the record after changes of (function, arguments…, names)."""
    for change, *arguments, named in changes:
        record = record.merged(change(record, *arguments, **here(**named)).delta)
    return record


EMPTY = AccessRecord()
ALICE = after(EMPTY, (add_user, "alice", ADMIN, HASH, {}))
BOTH = after(ALICE, (add_user, "bob", MONITOR, HASH, {}))


def refusal(decision):
    assert isinstance(decision, AccessRefusal)
    return decision.reason


def test_a_user_is_added_and_told():
    change = add_user(EMPTY, "alice", ADMIN, HASH, **here())
    assert change.text == "added user alice (admin)"
    assert EMPTY.merged(change.delta).present_users["alice"].password == HASH


def test_a_user_who_is_there_is_not_added_again_and_the_refusal_says_which_commands_are_meant():
    reason = refusal(add_user(ALICE, "alice", MONITOR, HASH, **here()))
    assert reason.startswith("there is a user alice already (admin): change the role with `hcsidecar user role alice ")
    assert "`hcsidecar user password alice`" in reason


@pytest.mark.parametrize("name", ["root", "somebody"])
def test_nobody_is_called_as_events_call_others(name):
    assert refusal(add_user(EMPTY, name, ADMIN, HASH, **here())).startswith(f"nobody can be called {name}")


def test_the_number_of_users_is_limited():
    record = after(EMPTY, *((add_user, f"user{number}", MONITOR, HASH, {}) for number in range(MOST_USERS)))
    assert "no room for more" in refusal(add_user(record, "alice", ADMIN, HASH, **here()))


@pytest.mark.parametrize(
    "decide",
    [
        lambda record, name: set_password(record, name, HASH, **here()),
        lambda record, name: set_role(record, name, ADMIN, force=False, **here()),
        lambda record, name: remove_user(record, name, force=False, **here()),
    ],
)
def test_an_unknown_user_is_told_with_those_whom_there_are(decide):
    assert refusal(decide(BOTH, "carol")) == "there is no user carol; there are alice, bob"
    assert "there is none yet: hcsidecar user add NAME --role admin" in refusal(decide(EMPTY, "carol"))


def test_a_changed_password_and_a_changed_role_are_told():
    assert set_password(ALICE, "alice", HASH, **here()).text == (
        "changed the password of user alice, whose sessions have ended"
    )
    assert set_role(BOTH, "bob", CONTROL, force=False, **here()).text == "gave user bob the role control (was monitor)"
    assert refusal(set_role(BOTH, "bob", MONITOR, force=False, **here())) == "user bob has the role monitor already"


def test_the_last_admin_stays_one_unless_forced():
    for decision in (
        remove_user(BOTH, "alice", force=False, **here()),
        set_role(BOTH, "alice", CONTROL, force=False, **here()),
    ):
        assert refusal(decision).startswith("alice is the last admin: nobody could change settings and users")
    assert remove_user(BOTH, "alice", force=True, **here()).text == "removed user alice (admin)"
    assert set_role(BOTH, "alice", CONTROL, force=True, **here()).text == "gave user alice the role control (was admin)"
    two = after(BOTH, (set_role, "bob", ADMIN, {"force": False}))
    assert remove_user(two, "alice", force=False, **here()).text == "removed user alice (admin)"


def token(record, identifier, name="ci", *, expires_at: int | None = NOW + 100, now=NOW):
    return add_token(
        record, identifier * 16, name, CONTROL, "0" * 64, expires_at=expires_at, by="root", node="web1", now=now
    )


def test_a_token_is_added_and_one_without_an_end_is_told_as_such():
    assert token(EMPTY, "1").text == "added API token ci (control)"
    assert token(EMPTY, "1", expires_at=None).text == "added API token ci (control), which never expires"


def test_a_token_has_a_name_and_an_id_of_its_own_and_a_time_to_come():
    record = EMPTY.merged(token(EMPTY, "1").delta)
    assert "there is an API token ci already" in refusal(token(record, "2"))
    assert "there has been a token 1111111111111111 already" in refusal(token(record, "1", "other"))
    assert "would have expired already" in refusal(token(EMPTY, "1", expires_at=NOW))
    # The name of one that has expired is free.
    assert token(record, "2", expires_at=None, now=NOW + 100).text.startswith("added")


def test_the_number_of_tokens_is_limited():
    record = EMPTY
    for number in range(MOST_TOKENS):
        record = record.merged(
            add_token(
                record, f"{number:016x}", f"t{number}", MONITOR, "0" * 64, expires_at=None, by="", node="a", now=NOW
            ).delta
        )
    assert "no room for more" in refusal(token(record, "f"))


def test_a_token_is_revoked_by_name_or_id():
    record = EMPTY.merged(token(EMPTY, "1").delta)
    for name in ("ci", "1" * 16):
        change = revoke_token(record, name, **here())
        assert change.text == "revoked API token ci (control)"
        assert record.merged(change.delta).present_tokens == {}
    assert refusal(revoke_token(record, "backup", **here())) == "there is no API token backup; there are ci"
    assert refusal(revoke_token(EMPTY, "backup", **here())) == "there is no API token backup; none exist"


def test_the_last_use_of_a_token_is_noted_once_an_hour():
    record = EMPTY.merged(token(EMPTY, "1").delta)
    key = "1" * 16
    first = note_uses(record, {key: NOW, "unknown": NOW})
    assert first == AccessRecord(last_used={key: NOW})
    record = record.merged(first)
    assert note_uses(record, {key: NOW + LAST_USED_STEP - 1}) is None
    assert note_uses(record, {key: NOW + LAST_USED_STEP}) == AccessRecord(last_used={key: NOW + LAST_USED_STEP})


def test_a_report_shows_users_and_tokens_without_what_verifies_them():
    record = BOTH.merged(token(BOTH, "1").delta).merged(AccessRecord(last_used={"1" * 16: NOW + 5}))
    record = record.merged(new_session_key(token_id="2" * 16, key="a" * 64, now=NOW, record=record))
    report = access_report(record, node="web1", now=NOW + 100)
    assert [(user.name, user.role, user.added_at) for user in report.users] == [
        ("alice", ADMIN, NOW),
        ("bob", MONITOR, NOW),
    ]
    (listed,) = report.tokens
    assert (listed.name, listed.expires_at, listed.last_used_at, listed.expired) == ("ci", NOW + 100, NOW + 5, True)
    assert HASH not in repr(report)
    assert "a" * 64 not in repr(report)


@pytest.mark.parametrize("name", ["alice", "a", "j.doe-2", "x" * 32])
def test_a_name_of_small_letters_and_digits_is_taken(name):
    assert why_not_user_name(name) is None
    assert why_not_token_name(name.upper()) is None


@pytest.mark.parametrize("name", ["", "Alice", "x" * 33, ".alice", "alice@web1", "alice (root", "älice", "a\n"])
def test_a_name_that_could_be_read_as_somebody_else_is_not_taken(name):
    assert "small letters a to z, digits" in why_not_user_name(name)


@pytest.mark.parametrize("name", ["", "my token", "ci\n", "-ci"])
def test_a_token_has_a_name_in_one_word(name):
    assert "the name of an API token has letters a to z, digits" in why_not_token_name(name)


def words(before, *changes):
    """Give what is told of changes that were made on web1."""
    return changes_in_words(before, after(before, *changes))


def test_what_another_node_has_changed_is_told_in_a_line_each_with_where_it_was_done():
    assert words(EMPTY, (add_user, "alice", ADMIN, HASH, {})) == ("user alice (admin) was added on web1",)
    assert words(BOTH, (remove_user, "bob", {"force": False})) == ("user bob was removed on web1",)
    assert words(BOTH, (set_role, "bob", CONTROL, {"force": False}), (set_password, "bob", HASH, {})) == (
        "user bob was given the role control on web1 (was monitor)",
        "the password of user bob was changed on web1",
    )
    assert words(BOTH, (remove_user, "bob", {"force": False}), (add_user, "bob", ADMIN, HASH, {})) == (
        "user bob (admin) was added on web1",
    )
    added = EMPTY.merged(token(EMPTY, "1").delta)
    assert changes_in_words(EMPTY, added) == ("API token ci (control) was added on web1",)
    revoked = added.merged(revoke_token(added, "ci", **here()).delta)
    assert changes_in_words(added, revoked) == ("API token ci was revoked on web1",)
    ended = EMPTY.merged(end_sessions(token_id="3" * 16, key="a" * 64, now=NOW).delta)
    assert changes_in_words(EMPTY, ended) == ("the sessions of all users were ended",)


def test_a_new_role_and_a_new_password_are_told_apart():
    assert words(BOTH, (set_role, "bob", CONTROL, {"force": False})) == (
        "user bob was given the role control on web1 (was monitor)",
    )
    assert words(BOTH, (set_password, "bob", HASH, {})) == ("the password of user bob was changed on web1",)
    # An earlier change of the same role, of which another node hears later.
    later = msgspec.structs.replace(BOTH.users["bob"], role_set=BOTH.stamp(node="web2", now=NOW))
    assert changes_in_words(BOTH, BOTH.merged(AccessRecord(users={"bob": later}))) == ()


@pytest.mark.parametrize(
    ("body", "name", "text"),
    [
        (UserBody(name="carol", role=CONTROL, password=HASH), "", "added user carol (control)"),
        (PasswordBody(password=HASH), "bob", "changed the password of user bob, whose sessions have ended"),
        (RoleBody(role=CONTROL), "bob", "gave user bob the role control (was monitor)"),
        (RoleBody(role=CONTROL, force=True), "alice", "gave user alice the role control (was admin)"),
        (RemoveBody(), "bob", "removed user bob (monitor)"),
        (RemoveBody(force=True), "alice", "removed user alice (admin)"),
        (
            TokenBody(id="2" * 16, name="backup", role=MONITOR, secret_sha256="0" * 64, expires_at=NOW + 9),
            "",
            "added API token backup (monitor)",
        ),
        (RevokeBody(), "ci", "revoked API token ci (control)"),
        (EndSessionsBody(), "", "ended the sessions of all users"),
    ],
)
def test_each_request_becomes_its_change(body, name, text):
    record = BOTH.merged(token(BOTH, "1").delta)
    change = decide(record, body, name=name, by="root", drawn=("3" * 16, "a" * 64), **here())
    assert change.text == text
    assert record.merged(change.delta) != record


def test_nothing_is_told_of_what_is_the_same_or_was_gone_before_it_was_known():
    assert changes_in_words(BOTH, BOTH) == ()
    gone = after(ALICE, (remove_user, "alice", {"force": True}))
    assert changes_in_words(EMPTY, gone) == ()
    added = EMPTY.merged(token(EMPTY, "1").delta)
    revoked = added.merged(revoke_token(added, "ci", **here()).delta)
    assert changes_in_words(EMPTY, revoked) == ()
    assert changes_in_words(revoked, revoked.merged(AccessRecord(last_used={"1" * 16: NOW}))) == ()
