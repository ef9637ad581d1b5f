"""What is shown to be let in: sessions and API tokens, and how each of them ends."""

import hmac
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.access.changes import (
    add_token,
    add_user,
    end_sessions,
    new_session_key,
    remove_user,
    revoke_token,
    set_password,
    set_role,
)
from hcsidecar.core.access.credentials import (
    KEY_SIGNS,
    NO_SESSION,
    NO_TOKEN,
    RENEW_AFTER,
    SESSION_IDLE,
    SESSION_LIFE,
    NotLetIn,
    OpenSession,
    new_session,
    read_session,
    read_token,
    renewed_session,
    secret_digest,
    signing_key,
    write_token,
)
from hcsidecar.core.access.identity import Identity, Via
from hcsidecar.core.access.record import SESSION_KEY_LIFE, AccessRecord
from hcsidecar.core.access.roles import AccessRole

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
NOW = 1_790_000_000
KEY_ID, TOKEN_ID = "c" * 16, "d" * 16
SECRET = bytes(range(32))


def made(record, decide, *arguments, **named):
    """Give the record with a change in it."""
    return record.merged(decide(record, *arguments, **{"node": "web1", "now": NOW} | named).delta)


def with_alice():
    record = made(AccessRecord(), add_user, "alice", AccessRole.ADMIN, HASH)
    record = made(record, add_user, "bob", AccessRole.ADMIN, HASH)
    return record.merged(new_session_key(token_id=KEY_ID, key="a" * 64, now=NOW, record=record))


RECORD = with_alice()
SESSION = new_session(RECORD, "alice", now=NOW)


def reason(record, shown=SESSION, *, now=NOW):
    found = read_session(record, shown, now=now)
    assert isinstance(found, NotLetIn)
    return found.reason


def test_a_session_lets_in_who_signed_in_on_every_node_with_the_record():
    found = read_session(RECORD, SESSION, now=NOW + 60)
    assert found.identity == Identity(name="alice", role=AccessRole.ADMIN, via=Via.CONSOLE)


def test_another_password_another_role_and_a_removal_end_a_session():
    changed = "password or role of alice has changed since: sign in again"
    assert reason(made(RECORD, set_password, "alice", HASH)) == changed
    assert reason(made(RECORD, set_role, "alice", AccessRole.MONITOR, force=False)) == changed
    gone = made(RECORD, remove_user, "alice", force=False)
    assert reason(gone) == "there is no user alice any more"
    assert reason(made(gone, add_user, "alice", AccessRole.ADMIN, HASH)) == changed
    assert new_session(gone, "alice", now=NOW) is None


def test_a_session_ends_when_it_is_idle_and_when_it_is_old_however_busy():
    assert "has not been used for 8 hours" in reason(RECORD, now=NOW + SESSION_IDLE)
    shown, at = SESSION, NOW
    record = RECORD
    while at + SESSION_IDLE - 1 < NOW + SESSION_LIFE:
        at += SESSION_IDLE - 1
        found = read_session(record, shown, now=at)
        assert isinstance(found, OpenSession)
        assert found.is_due(now=at)
        if signing_key(record, now=at) is None:
            record = record.merged(new_session_key(token_id=f"{at:016x}", key="b" * 64, now=at, record=record))
        shown = renewed_session(record, found, now=at)
        assert not read_session(record, shown, now=at).is_due(now=at + RENEW_AFTER - 1)
    assert "the session is 24 hours old" in reason(record, shown, now=NOW + SESSION_LIFE)


def test_a_key_signs_for_a_time_and_opens_longer_than_any_session_that_it_has_signed():
    assert signing_key(RECORD, now=NOW + KEY_SIGNS - 1) == KEY_ID
    assert signing_key(RECORD, now=NOW + KEY_SIGNS) is None
    assert new_session(RECORD, "alice", now=NOW + KEY_SIGNS) is None
    assert KEY_SIGNS + SESSION_IDLE <= SESSION_KEY_LIFE
    assert reason(RECORD, now=NOW + SESSION_KEY_LIFE) == NO_SESSION.reason


def test_the_end_of_all_sessions_ends_them_and_new_ones_can_be_made_at_once():
    record = RECORD.merged(end_sessions(token_id="e" * 16, key="b" * 64, now=NOW).delta)
    assert reason(record) == NO_SESSION.reason
    assert isinstance(read_session(record, new_session(record, "alice", now=NOW), now=NOW), OpenSession)


def test_the_newest_key_signs():
    record = RECORD.merged(new_session_key(token_id="e" * 16, key="b" * 64, now=NOW + 5, record=RECORD))
    assert signing_key(record, now=NOW + 6) == "e" * 16


def test_a_session_that_somebody_has_changed_lets_nobody_in():
    version, payload, key, mac = SESSION.split(".")
    other = new_session(RECORD, "bob", now=NOW)
    for forged in (
        f"{version}.{other.split('.')[1]}.{key}.{mac}",
        f"{version}.{payload}.{'f' * 16}.{mac}",
        f"{version}.{payload}.{key}.{'A' * 43}",
        f"hcs2.{payload}.{key}.{mac}",
        SESSION + "\n",
        SESSION * 20,
    ):
        assert reason(RECORD, forged) == NO_SESSION.reason


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: f"hcs1.{b.hex()}.{KEY_ID}.{'A' * 43}"))
def test_no_text_raises_and_none_lets_in(shown):
    assert read_session(RECORD, shown, now=NOW) == NO_SESSION
    assert read_token(RECORD, shown, now=NOW) == NO_TOKEN


def test_a_session_of_another_version_is_none():
    payload = urlsafe_b64encode(b'{"name":"alice","renewed_at":0}').decode().rstrip("=")
    mac = hmac.digest(bytes.fromhex("a" * 64), b"hcsidecar session " + payload.encode(), "sha256")
    shown = f"hcs1.{payload}.{KEY_ID}.{urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert read_session(RECORD, shown, now=NOW) == NO_SESSION


def with_token(**changes):
    named = {"expires_at": NOW + 100, "by": "root"} | changes
    return made(AccessRecord(), add_token, TOKEN_ID, "ci", AccessRole.CONTROL, secret_digest(SECRET), **named)


TOKEN = write_token(TOKEN_ID, SECRET)


def test_a_token_lets_in_with_its_role_until_it_expires():
    record = with_token()
    found = read_token(record, TOKEN, now=NOW + 99)
    assert found.identity == Identity(name="ci", role=AccessRole.CONTROL, via=Via.API_TOKEN)
    assert found.token_id == TOKEN_ID
    assert read_token(record, TOKEN, now=NOW + 100).reason == (
        "the API token ci has expired: hcsidecar api-token add makes another one"
    )
    assert read_token(with_token(expires_at=None), TOKEN, now=NOW + 10**9).identity.name == "ci"


def test_a_revoked_token_says_so_to_who_has_its_secret_and_to_nobody_else():
    record = with_token()
    revoked = record.merged(revoke_token(record, "ci", node="web1", now=NOW).delta)
    assert read_token(revoked, TOKEN, now=NOW).reason == "the API token ci has been revoked"
    assert read_token(revoked, write_token(TOKEN_ID, bytes(32)), now=NOW) == NO_TOKEN


@pytest.mark.parametrize("shown", ["", "hca1..", "hca1." + "d" * 16, write_token("e" * 16, SECRET), TOKEN.upper()])
def test_what_is_no_token_lets_nobody_in(shown):
    assert read_token(with_token(), shown, now=NOW) == NO_TOKEN
