"""Signed requests between nodes: only who has the farm's key can make one, it can be used once, and so can its answer.

A request carries `Authorization: Farm key=…;from=…;to=…;time=…;nonce=…;challenge=…;body=…;mac=…`. The MAC is
HMAC-SHA256, with a key derived from the farm's key for this purpose, over all of these, the farm, the method and the
path with its query. `body` is the SHA-256 of the body, so that a request of a stranger is refused before its body is
read. The id of the key allows keys to be rotated while the farm runs.

Replays: a node remembers every nonce that it has seen under its present *challenge*, a random value that requests must
quote. It draws a new challenge when it starts and when its memory is full. It can then forget the nonces, because no
request that was signed under the old challenge is valid any more. So the memory is bounded, a replay is always refused,
also after a restart, and no honest node is locked out: a relay that quotes an old challenge receives the new one in a
signed answer and repeats the request. The time in the request protects against somebody who holds back a request and
delivers it late.

Answers are signed too (nonce of the request, answering node, status, body). A relay believes no other answer.
Everything here is pure: `now` is the wall clock in seconds, and random values are arguments.
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
    """What signing needs of the farm's keys; `hcsidecar.net.keyring.Keyring` provides it."""

    @property
    def active_id(self) -> int:
        """The id of the key to sign with."""

    @property
    def ids(self) -> Collection[int]:
        """The ids of the keys that are valid."""

    def derive(self, purpose: str, key_id: int, info: bytes) -> bytes:
        """Return the key that is derived from the key of this id for a purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request, as its MAC proves."""

    node: str
    key_id: int
    nonce: str
    digest: str
    "SHA-256 of the body of the request."
    key: bytes = field(repr=False)
    "The derived key. It is kept so that the answer can be signed even if the key is dropped meanwhile."

    def sent(self, body: bytes) -> bool:
        """Return whether this is the body that was signed."""
        return hmac.compare_digest(self.digest, _digest(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefusal:
    """Why a request is not served."""

    reason: str
    caller: Caller | None = None
    "Set if the sender has the key and may learn the reason, in a signed answer. Others learn nothing."
    challenge: str | None = None
    "Set if the request would have been served with this challenge."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The header of a request, and what is needed to check the answer."""

    header: str
    to: str
    nonce: str


class Signer:
    """Signs the requests of this node and checks the answers."""

    def __init__(self, *, keys: Callable[[], Keys], farm: str, node: str) -> None:
        """`keys` is a function because the keys change with the key file."""
        self._keys = keys
        self._farm = farm
        self._node = node

    def sign(self, method: str, path: str, body: bytes, *, to: str, challenge: str, nonce: str, now: float) -> Signed:
        """Return the Authorization header; `path` is the request target with its query, exactly as it is sent."""
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
        """Return why an answer must not be believed, or None if it is the node's own answer to this request."""
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
    """Checks requests to this node and signs the answers. It remembers at most NONCES nonces."""

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
        """Draw the first challenge; `draw` returns 32 random hexadecimal digits.

        Requests are accepted only from `nodes`, those of the farm file. The key alone is not enough, because a node
        that was taken out of the farm may still have it.
        """
        self._keys = keys
        self._farm = farm
        self._node = node
        self._nodes = nodes
        self._draw = draw
        self._room = nonces
        self._challenge = draw()
        self._seen: set[str] = set()

    def set_nodes(self, nodes: Collection[str]) -> None:
        """Accept requests from these nodes only, from now on."""
        self._nodes = nodes

    def verify(self, method: str, path: str, header: str | None, *, now: float) -> Caller | RequestRefusal:
        """Return who sent the request, or why it is not served. The caller must still compare the body."""
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
        """Return the header that proves an answer."""
        mac = _answer_mac(caller.key, farm=self._farm, node=self._node, nonce=caller.nonce, status=status, body=body)
        return f"key={caller.key_id:08x};from={self._node};mac={mac}"

    def _why_not_fresh(self, caller: Caller, challenge: str, signed_at: float, now: float) -> RequestRefusal | None:
        if challenge != self._challenge:
            reason = "signed under another challenge: this node has started anew, or it was not known"
            return RequestRefusal(reason=reason, caller=caller, challenge=self._challenge)
        if caller.nonce in self._seen:
            # No signed answer: the sender of a replay could pass it on to the first sender, who still waits for one.
            return RequestRefusal(reason=f"a replay of a request of {caller.node}")
        # Remember the nonce before the time is checked: a request that is refused because a clock is ahead must still
        # be refused when that time has come.
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
    """Return the MAC over fields, each preceded by its length, so that no field can run into the next one."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for text in fields:
        data = text.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(4) + data)
    return mac.hexdigest()
