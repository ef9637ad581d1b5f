"""What people and programs show to be let in: sessions and API tokens, made and read with `now` in seconds since 1970.

A session is `hcs1.PAYLOAD.KEY.MAC`: who signed in and when, signed by HMAC-SHA256 with a session key of the farm, so
that every node knows it. It has the user's epoch in it, which another password, another role and a removal change. It
ends SESSION_IDLE after it was last renewed, and SESSION_LIFE after the password was given. itsdangerous would sign as
well, but reads the clock itself and allows more forms than one; HMAC is all that is needed of it.

An API token is `hca1.ID.SECRET`. Who gets it sees it once; the record has a SHA-256 of the secret.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

import msgspec

from hcsidecar.core.access.identity import Identity, Via
from hcsidecar.core.access.record import SESSION_KEY_LIFE, AccessRecord, Moment, UserName
from hcsidecar.core.json_reading import JsonError, read_json

SESSION_IDLE: Final = 8 * 3600
"Seconds after which a session ends that nobody uses."
SESSION_LIFE: Final = 24 * 3600
"Seconds after which the password is asked for again."
RENEW_AFTER: Final = 300
"Seconds after which a session in use is given anew, so that it does not end as an idle one."
KEY_SIGNS: Final = 12 * 3600
"Seconds for which a session key signs; the sessions of it must have ended before SESSION_KEY_LIFE is over."
SECRET_BYTES: Final = 32
TOKEN_ID_BYTES: Final = 8
LONGEST_CREDENTIAL: Final = 1024
"Characters; nothing longer is looked at."

_MAC: Final = r"[A-Za-z0-9_-]{43}"
_SESSION: Final = re.compile(
    rf"hcs1\.(?P<payload>[A-Za-z0-9_-]{{1,512}})\.(?P<key>[0-9a-f]{{16}})\.(?P<mac>{_MAC})", re.ASCII
)
_TOKEN: Final = re.compile(r"hca1\.(?P<id>[0-9a-f]{16})\.(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a session says."""

    name: UserName
    epoch: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    signed_in_at: Moment
    renewed_at: Moment


class NotLetIn(msgspec.Struct, frozen=True, kw_only=True):
    """Why a credential lets nobody in, as its owner may know it."""

    reason: str


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is valid."""

    identity: Identity
    session: Session

    def is_due(self, *, now: float) -> bool:
        """Return whether it should be given anew, with `renewed_session`."""
        return now >= self.session.renewed_at + RENEW_AFTER


class ShownToken(msgspec.Struct, frozen=True, kw_only=True):
    """An API token that is valid."""

    identity: Identity
    token_id: str


NO_SESSION: Final = NotLetIn(reason="this is no session of this farm: sign in")
NO_TOKEN: Final = NotLetIn(reason="this is no API token of this farm")


def signing_key(record: AccessRecord, *, now: float) -> str | None:
    """Return the id of the session key to sign with; None if another one must be made first."""
    fit = [(key.made_at, name) for name, key in record.session_keys.items() if now < key.made_at + KEY_SIGNS]
    return max(fit)[1] if fit else None


def new_session(record: AccessRecord, name: str, *, now: float) -> str | None:
    """Return the session of a user who has given the right password; None without a user or a key to sign with."""
    user = record.present_users.get(name)
    if user is None:
        return None
    at = int(now)
    return _signed(record, Session(name=name, epoch=user.epoch, signed_in_at=at, renewed_at=at), now=now)


def renewed_session(record: AccessRecord, opened: OpenSession, *, now: float) -> str | None:
    """Return the same session, in use now; None without a key to sign with."""
    return _signed(record, msgspec.structs.replace(opened.session, renewed_at=int(now)), now=now)


def read_session(record: AccessRecord, shown: str, *, now: float) -> OpenSession | NotLetIn:
    """Return whose session this is, or why it is none."""
    match = _SESSION.fullmatch(shown) if len(shown) <= LONGEST_CREDENTIAL else None
    key = record.session_keys.get(match["key"]) if match else None
    if match is None or key is None or now >= key.made_at + SESSION_KEY_LIFE or key.made_at < record.sessions_from:
        return NO_SESSION
    if not hmac.compare_digest(match["mac"], _mac(key.key, match["payload"])):
        return NO_SESSION
    try:
        session = read_json(_from_base64(match["payload"]), Session)
    except JsonError:  # of another version
        return NO_SESSION
    user = record.present_users.get(session.name)
    if user is None:
        return NotLetIn(reason=f"there is no user {session.name} any more")
    if user.epoch != session.epoch:
        return NotLetIn(reason=f"password or role of {session.name} has changed since: sign in again")
    if now >= session.renewed_at + SESSION_IDLE:
        return NotLetIn(reason=f"the session has not been used for {SESSION_IDLE // 3600} hours: sign in again")
    if now >= session.signed_in_at + SESSION_LIFE:
        return NotLetIn(reason=f"the session is {SESSION_LIFE // 3600} hours old: sign in again")
    return OpenSession(identity=Identity(name=session.name, role=user.role, via=Via.CONSOLE), session=session)


def write_token(token_id: str, secret: bytes) -> str:
    """Return the API token as its owner gets it; `token_id` in hexadecimal digits, `secret` of SECRET_BYTES."""
    return f"hca1.{token_id}.{_base64(secret)}"


def secret_digest(secret: bytes) -> str:
    """Return what the record keeps of a token's secret."""
    return hashlib.sha256(secret).hexdigest()


def read_token(record: AccessRecord, shown: str, *, now: float) -> ShownToken | NotLetIn:
    """Return which token this is, or why it is none. What is wrong is only told to who has its secret."""
    match = _TOKEN.fullmatch(shown) if len(shown) <= LONGEST_CREDENTIAL else None
    token = record.tokens.get(match["id"]) if match else None
    # With no such token as much is computed, so that the time that it takes tells no ids.
    kept = "0" * 64 if token is None else token.secret_sha256
    is_right = match is not None and hmac.compare_digest(secret_digest(_from_base64(match["secret"])), kept)
    if token is None or match is None or not is_right:
        return NO_TOKEN
    if token.revoked is not None:
        return NotLetIn(reason=f"the API token {token.name} has been revoked")
    if token.has_expired(now=now):
        return NotLetIn(reason=f"the API token {token.name} has expired: hcsidecar api-token add makes another one")
    return ShownToken(identity=Identity(name=token.name, role=token.role, via=Via.API_TOKEN), token_id=match["id"])


def _signed(record: AccessRecord, session: Session, *, now: float) -> str | None:
    key_id = signing_key(record, now=now)
    if key_id is None:
        return None
    payload = _base64(msgspec.json.encode(session))
    return f"hcs1.{payload}.{key_id}.{_mac(record.session_keys[key_id].key, payload)}"


def _mac(key: str, payload: str) -> str:
    return _base64(hmac.digest(bytes.fromhex(key), b"hcsidecar session " + payload.encode("ascii"), "sha256"))


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode("ascii").rstrip("=")


def _from_base64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
