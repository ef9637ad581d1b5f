"""The `safekit` command's client of the daemon: HTTP over its unix socket, with few and quick imports.

Importing an HTTP client would take longer than all the rest of the command.
"""

import json
import socket
from collections.abc import Mapping
from typing import NamedTuple

TIMEOUT = 15.0
"Seconds to wait for an answer."
OK, CONFLICT = 200, 409

_PREFIX = "/api/v1"
_LONGEST_ANSWER = 16 * 1_048_576
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class CommandError(Exception):
    """The command cannot be carried out; the text says why."""


class NobodyError(CommandError):
    """There is no daemon to ask."""


class DaemonAnswer(NamedTuple):
    """What the daemon answers."""

    status: int
    "The HTTP status."
    document: Mapping[str, object]


class OwnState(NamedTuple):
    """The state of the module on this node."""

    role: str
    status: str


def ask(environment: Mapping[str, str], method: str, path: str, body: bytes = b"") -> DaemonAnswer:
    """Ask the daemon. With HTTP/1.0 the answer ends with the connection."""
    where = environment.get("HCSIDECAR_SOCKET")
    if not where:
        raise NobodyError("HCSIDECAR_SOCKET is not set: this command is for the scripts that hcsidecar runs")
    head = f"{method} {_PREFIX}{path} HTTP/1.0\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(where)
            connection.sendall(head.encode() + body)
            while len(answer) < _LONGEST_ANSWER and (piece := connection.recv(65536)):
                answer += piece
        start, _, document = answer.partition(b"\r\n\r\n")
        status, found = int(start.split(None, 2)[1]), json.loads(document)
    except OSError as error:
        raise NobodyError(f"no daemon answers on {where}: {error.strerror or error}") from None
    except (ValueError, IndexError, RecursionError):
        raise NobodyError(f"what answers on {where} is no daemon of hcsidecar") from None
    return DaemonAnswer(status, found if isinstance(found, dict) else {})


def post(environment: Mapping[str, str], path: str, body: Mapping[str, object]) -> None:
    """Ask the daemon to do something. Raise CommandError if it does not."""
    answer = ask(environment, "POST", path, json.dumps(body).encode())
    if answer.status != OK:
        raise CommandError(reason(answer))


def reason(answer: DaemonAnswer) -> str:
    """Return why something is not done, in the daemon's words."""
    key = "text" if answer.status == CONFLICT else "reason"
    return str(answer.document.get(key) or f"the daemon answers {answer.status}")


def state(environment: Mapping[str, str]) -> OwnState:
    """Return the state of the module on this node."""
    answer = ask(environment, "GET", "/status")
    rows = answer.document.get("nodes")
    for row in rows if answer.status == OK and isinstance(rows, list) else ():
        if row["name"] == answer.document.get("node"):
            return OwnState(role=str(row["role"]), status=str(row["status"]))
    raise CommandError(reason(answer))


def quoted(name: str) -> str:
    """Return a name quoted as part of a path."""
    return "".join(c if c in _UNRESERVED else "".join(f"%{byte:02X}" for byte in c.encode()) for c in name)
