"""The health URL's answer: whether this node may get traffic, in the form that each kind of prober understands.

The answer is OK while `serving` of `core/application/state.py` is true and the settings of the node are up to date; the
daemon hands it over in `_publish` (`daemon/daemon.py`).
Everything that can be sent is prepared when the answer changes, so that answering is a look-up and waits for nothing.

The bodies are fixed and neither contains the other, since some balancers search for a text: "OK" and "NOT FOUND". 404
is the "no" that every balancer takes for a failure, and that HAProxy can take for a soft drain (`disable-on-404`).
Details are in headers only. There is no Date header: the answer is never stored, and no prober needs it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from hcsidecar.core.probers import Prober, Probers

METHODS = ("GET", "HEAD", "OPTIONS")
"The methods that a health path answers."
LONGEST_HEADER = 200
"Characters of a header's value."

_UNPRINTABLE = re.compile(r"[^ -~]")


class Version(StrEnum):
    """The version of HTTP that a prober uses; the answer uses the same version."""

    HTTP_0_9 = "HTTP/0.9"
    "One line, GET and a path; the answer is the body and nothing else."
    HTTP_1_0 = "HTTP/1.0"
    HTTP_1_1 = "HTTP/1.1"


class Shape(StrEnum):
    """What a request means to the health URL."""

    PROBE = "probe"
    WRONG_METHOD = "wrong method"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAnswer:
    """What this node tells probers. Raise ValueError if it is both OK and draining."""

    ok: bool
    node: str
    state: str
    "Role and status, such as UP(Ready)."
    reason: str = ""
    "Why it is not OK."
    draining: bool = False

    def __post_init__(self) -> None:
        if self.ok and self.draining:
            raise ValueError("a draining node is not OK")

    @property
    def status(self) -> HTTPStatus:
        """200 or 404, and never another 2xx."""
        return HTTPStatus.OK if self.ok else HTTPStatus.NOT_FOUND

    @property
    def body(self) -> str:
        """The body, one line."""
        return "OK\n" if self.ok else "NOT FOUND\n"

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every answer, safe to send whatever the reason contains."""
        headers = {
            "Content-Type": "text/plain; charset=us-ascii",
            "Cache-Control": "no-store",
            "X-Farm-Node": _printable(self.node),
            "X-Farm-State": _printable(self.state),
        }
        if self.reason:
            headers["X-Farm-Reason"] = _printable(self.reason)
        if self.draining:
            # On this answer Envoy takes the host out at once, without counting failures.
            headers["X-Envoy-Immediate-Health-Check-Fail"] = "true"
        return headers

    @property
    def agent_line(self) -> bytes:
        """The line for HAProxy's agent-check.

        HAProxy keeps each word until the agent revokes it ("up" alone leaves a drained server drained), so every line
        sets both the administrative state (ready, drain) and the operational one (up, down). See HAProxy manual, 5.2,
        agent-check.
        """
        if self.ok:
            return b"ready up 100%\n"
        if self.draining:
            return b"drain up\n"
        reason = _printable(f"{self.state}: {self.reason}" if self.reason else self.state)
        return f"ready down #{reason}\n".encode("ascii")


class HealthFace:
    """What probers see of this node: the present answer, and which of them have had it."""

    def __init__(self, *, farm: str, path: str, answer: HealthAnswer, now: float) -> None:
        self._farm = farm
        self.set_path(path)
        self.probers = Probers()
        self.told_ok = 0
        "Answers of OK so far."
        self.told_not_found = 0
        "Answers of NOT FOUND so far."
        self._take(answer, now=now)

    def set_path(self, path: str) -> None:
        """Answer probes of this path from now on."""
        self.paths = frozenset((path, f"/var/modules/{self._farm}/ready.txt"))
        "SafeKit's path is always one of them, so that a balancer can be moved without changes."

    @property
    def answer(self) -> HealthAnswer:
        """The present answer to probers."""
        return self._answer

    @property
    def since(self) -> float:
        """When the answer changed to OK or to NOT FOUND."""
        return self._since

    @property
    def agent_line(self) -> bytes:
        """The present line for HAProxy's agent-check."""
        return self._agent_line

    def set_answer(self, answer: HealthAnswer, *, now: float) -> None:
        """Set the answer; the next request already gets it."""
        if answer != self._answer:
            self._take(answer, now=self._since if answer.ok == self._answer.ok else now)

    def shape(self, method: str, path: str, version: Version) -> Shape:
        """Return whether a request is a probe; `path` is without query and authority.

        Two kinds of probe do not name our path, because they are the defaults of their balancers: HAProxy's OPTIONS /
        (or OPTIONS *) and F5's bare GET / of HTTP/0.9. Nobody else sends those, and any other answer would mislead.
        """
        if path in self.paths:
            return Shape.PROBE if method in METHODS else Shape.WRONG_METHOD
        if method == "OPTIONS" and path in {"/", "*"}:
            return Shape.PROBE
        if version is Version.HTTP_0_9 and path == "/":
            return Shape.PROBE
        return Shape.ELSEWHERE

    def poll(self, prober: Prober, version: Version, *, keep_alive: bool, now: float) -> bytes:
        """Return the answer to a probe, and remember that it was given; the method is one of METHODS."""
        response = self._responses[prober.method, version, keep_alive]
        self.note(prober, now=now)
        return response

    def note(self, prober: Prober, *, now: float) -> None:
        """Remember that this prober was given the present answer."""
        ok = self._answer.ok
        if ok:
            self.told_ok += 1
        else:
            self.told_not_found += 1
        self.probers.polled(prober, ok=ok, now=now)

    def _take(self, answer: HealthAnswer, *, now: float) -> None:
        self._answer = answer
        self._since = now
        self._agent_line = answer.agent_line
        self._responses = {
            (method, version, keep_alive): _response(answer, method, version, keep_alive=keep_alive)
            for method in METHODS
            for version in Version
            for keep_alive in (False, True)
        }


def response(
    status: str, headers: dict[str, str], body: str, version: Version, *, keep_alive: bool, bodiless: bool = False
) -> bytes:
    """Return the bytes of an HTTP response, all ASCII; `status` is code and phrase, `bodiless` is for HEAD."""
    if version is Version.HTTP_0_9:
        return body.encode("ascii")
    lines = [f"{version} {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if keep_alive != (version is Version.HTTP_1_1):
        # The header is sent only where it differs from the version's default (RFC 9112, 9.3).
        lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n" + ("" if bodiless else body)).encode("ascii")


def _response(answer: HealthAnswer, method: str, version: Version, *, keep_alive: bool) -> bytes:
    headers = answer.headers | ({"Allow": ", ".join(METHODS)} if method == "OPTIONS" else {})
    status = f"{answer.status.value} {answer.status.phrase}"
    return response(status, headers, answer.body, version, keep_alive=keep_alive, bodiless=method == "HEAD")


def _printable(text: str) -> str:
    """Return a text as a safe value for a header: printable ASCII of bounded length."""
    return _UNPRINTABLE.sub("?", text)[:LONGEST_HEADER].strip()
