"""Signed requests between nodes: who may ask (who holds the farm's key), what exactly, once, and what was answered.

A request carries `Authorization: Farm key=…;from=…;to=…;time=…;nonce=…;challenge=…;body=…;mac=…`. The MAC is
HMAC-SHA256, with a key derived from the farm's key for this purpose, over all of these, the farm, the method and the
path with its query; `body` is the SHA-256 of the body, so that a stranger is refused before a byte of it is read. The
key's id makes rotation possible without a stop.

Replays. A node remembers every nonce that it has seen under its present *challenge*, a random value that requests must
quote. It draws a new one when it starts and when its memory is full: the nonces can then be forgotten, since nothing
that was signed under the old challenge is good any more. So memory is bounded, a replay is refused for ever and over
a restart, and nobody is turned away: a relay that quotes an old challenge is told the new one (in a signed answer) and
asks again. The time is there for requests that somebody holds back and delivers late.

Answers are signed too (nonce of the request, answering node, status, body): a relay believes nothing else.
Everything here is pure: `now` is the wall clock in seconds, random values are handed in.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

SCHEME = "Farm"
ANSWER_HEADER = "X-Farm-Signature"
PURPOSE = "api"
WINDOW = 30.0
"Seconds that two clocks may differ."
NONCES = 4096
"Nonces remembered under one challenge: about half a megabyte."

_NAME = r"[A-Za-z0-9._-]{1,63}"
_HEX = r"[0-9a-f]"
_REQUEST = re.compile(
    rf"{SCHEME} key=(?P<key>{_HEX}{{8}});from=(?P<sender>{_NAME});to=(?P<to>{_NAME});time=(?P<time>\d{{1,16}});"
    rf"nonce=(?P<nonce>{_HEX}{{32}});challenge=(?P<challenge>{_HEX}{{0,32}});"
    rf"body=(?P<body>{_HEX}{{64}});mac=(?P<mac>{_HEX}{{64}})",
    re.ASCII,
)
_ANSWER = re.compile(rf"key=(?P<key>{_HEX}{{8}});from=(?P<sender>{_NAME});mac=(?P<mac>{_HEX}{{64}})", re.ASCII)


class Keys(Protocol):
    """The farm's keys, as far as signing needs them; `hcsidecar.net.keyring.Keyring` is one."""

    @property
    def active_id(self) -> int:
        """The id of the key to sign with."""

    @property
    def ids(self) -> Collection[int]:
        """The ids of the keys that are good."""

    def derive(self, purpose: str, key_id: int, info: bytes) -> bytes:
        """Give the key of one of these ids for a purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asked, proven by the MAC."""

    node: str
    key_id: int
    nonce: str
    digest: str
    "SHA-256 of the body that belongs to the request."
    key: bytes = field(repr=False)
    "The derived key: the answer can be signed with it even if it is dropped from the file meanwhile."

    def sent(self, body: bytes) -> bool:
        """Say whether this is the body that was signed."""
        return hmac.compare_digest(self.digest, _digest(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefusal:
    """Why a request is not served."""

    reason: str
    caller: Caller | None = None
    "Set when the asker holds the key and may be told the reason, in a signed answer; else it learns nothing."
    challenge: str | None = None
    "Set when quoting this one would have done."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request's header, and what is needed to believe its answer."""

    header: str
    to: str
    nonce: str


class Signer:
    """Signs the requests of this node and checks the answers."""

    def __init__(self, *, keys: Callable[[], Keys], farm: str, node: str) -> None:
        """Take the keys as a function: they are read anew when the key file changes."""
        self._keys = keys
        self._farm = farm
        self._node = node

    def sign(self, method: str, path: str, body: bytes, *, to: str, challenge: str, nonce: str, now: float) -> Signed:
        """Make the Authorization header; `path` is the request target with its query, exactly as it will be sent."""
        keys = self._keys()
        key_id = keys.active_id
        time, digest = str(int(now * 1000)), _digest(body)
        fields = (f"{key_id:08x}", self._node, to, time, nonce, challenge, digest)
        mac = _mac(_key(keys, key_id, self._farm), "request", self._farm, method, path, *fields)
        header = (
            f"{SCHEME} key={key_id:08x};from={self._node};to={to};time={time};nonce={nonce};"
            f"challenge={challenge};body={digest};mac={mac}"
        )
        return Signed(header=header, to=to, nonce=nonce)

    def why_not_believed(self, signed: Signed, *, header: str | None, status: int, body: bytes) -> str | None:
        """Say why an answer must not be believed, or None if it is the asked node's answer to this request."""
        match = _ANSWER.fullmatch(header or "")
        if match is None:
            return "the answer is not signed: not a node of this farm, or its key file is another"
        key_id, keys = int(match["key"], 16), self._keys()
        if key_id not in keys.ids:
            return f"the answer is signed with key {key_id:08x}, which is not in this node's key file"
        key = _key(keys, key_id, self._farm)
        mac = _answer_mac(key, farm=self._farm, node=match["sender"], nonce=signed.nonce, status=status, body=body)
        if not hmac.compare_digest(mac, match["mac"]):
            return "the signature of the answer is wrong: it was changed on the way, or belongs to another request"
        if match["sender"] != signed.to:
            return f"{match['sender']} answers there, not {signed.to}"
        return None


class Verifier:
    """Checks requests to this node and signs the answers; its memory is bounded."""

    def __init__(
        self,
        *,
        keys: Callable[[], Keys],
        farm: str,
        node: str,
        nodes: Collection[str],
        draw: Callable[[], str],
        nonces: int = NONCES,
    ) -> None:
        """Draw the first challenge: `draw` gives 32 random hexadecimal digits.

        `nodes` are those of the farm file, from which requests may come: the key alone is not enough, since a node that
        was taken out of the farm may have it still.
        """
        self._keys = keys
        self._farm = farm
        self._node = node
        self._nodes = nodes
        self._draw = draw
        self._room = nonces
        self._challenge = draw()
        self._seen: set[str] = set()

    def verify(self, method: str, path: str, header: str | None, *, now: float) -> Caller | RequestRefusal:
        """Say who asks, or why the request is not served; whoever serves it still compares the body."""
        match = _REQUEST.fullmatch(header or "")
        if match is None:
            return RequestRefusal(reason="not signed")
        key_id, keys = int(match["key"], 16), self._keys()
        if key_id not in keys.ids:
            return RequestRefusal(reason=f"signed with key {key_id:08x}, which is not in this node's key file")
        fields = match.group("key", "sender", "to", "time", "nonce", "challenge", "body")
        key = _key(keys, key_id, self._farm)
        mac = _mac(key, "request", self._farm, method, path, *fields)
        if not hmac.compare_digest(mac, match["mac"]):
            return RequestRefusal(reason="wrong signature: the key files differ, or the request was changed on the way")
        caller = Caller(node=match["sender"], key_id=key_id, nonce=match["nonce"], digest=match["body"], key=key)
        if caller.node not in self._nodes:
            return RequestRefusal(reason=f"{caller.node} is no node of this node's farm file", caller=caller)
        if match["to"] != self._node:
            return RequestRefusal(reason=f"meant for {match['to']}, but this is {self._node}", caller=caller)
        return self._why_not_fresh(caller, match["challenge"], int(match["time"]) / 1000, now) or caller

    def sign_answer(self, caller: Caller, *, status: int, body: bytes) -> str:
        """Make the header that proves an answer."""
        mac = _answer_mac(caller.key, farm=self._farm, node=self._node, nonce=caller.nonce, status=status, body=body)
        return f"key={caller.key_id:08x};from={self._node};mac={mac}"

    def _why_not_fresh(self, caller: Caller, challenge: str, signed_at: float, now: float) -> RequestRefusal | None:
        if challenge != self._challenge:
            reason = "signed under another challenge: this node has started anew, or it was not known"
            return RequestRefusal(reason=reason, caller=caller, challenge=self._challenge)
        if caller.nonce in self._seen:
            # No signed answer: who replays must not get one that the first asker, still waiting, would believe.
            return RequestRefusal(reason=f"a replay of a request of {caller.node}")
        # Remembered before the time is looked at: a request refused because a clock is ahead must stay refused
        # when that time has come.
        self._remember(caller.nonce)
        if abs(now - signed_at) > WINDOW:
            reason = (
                f"the clocks of {caller.node} and {self._node} differ by {abs(now - signed_at):.0f} s, "
                f"more than {WINDOW:.0f} s"
            )
            return RequestRefusal(reason=reason, caller=caller)
        return None

    def _remember(self, nonce: str) -> None:
        self._seen.add(nonce)
        if len(self._seen) >= self._room:
            self._challenge = self._draw()
            self._seen.clear()


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _key(keys: Keys, key_id: int, farm: str) -> bytes:
    return keys.derive(PURPOSE, key_id, farm.encode())


def _answer_mac(key: bytes, *, farm: str, node: str, nonce: str, status: int, body: bytes) -> str:
    return _mac(key, "answer", farm, node, nonce, str(status), _digest(body))


def _mac(key: bytes, *fields: str) -> str:
    """Give the MAC over fields, each with its length before it, so that none can run into the next."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for text in fields:
        data = text.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(4) + data)
    return mac.hexdigest()
