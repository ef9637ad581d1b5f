"""The peer of a check: a keepalived alone in a namespace, with scripts that look at the same Apache."""

import socket
from pathlib import Path
from typing import Final

from benchmarks import apache, keepalived, processes
from benchmarks.checked_node import await_true
from benchmarks.figures import CannotMeasureError
from benchmarks.wire import Namespace

ADVERT_INTERVAL: Final = 0.1
"Seconds; nobody hears the advertisements."
_INTERFACE: Final = "bench"
_NET: Final = "10.99.0"
SCRIPTS: Final = {
    "tcp": f"exec 3<>/dev/tcp/{apache.ADDRESS}/{apache.PORT}\n",
    "http": f"""\
exec 3<>/dev/tcp/{apache.ADDRESS}/{apache.PORT}
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
""",
}
"What each kind of check does, in bash, which speaks TCP by itself: each run costs one process and no more."


class Tracker:
    """A keepalived that has its address while its scripts succeed."""

    def __init__(self, directory: Path, namespace: Namespace, *, kinds: tuple[str, ...]) -> None:
        why = keepalived.why_not()
        if why is not None:
            raise CannotMeasureError(why)
        directory.mkdir()
        self._address = f"{_NET}.100"
        _plug_in(namespace)
        paths = {kind: _script(directory / kind, SCRIPTS[kind]) for kind in sorted(set(kinds))}
        command = keepalived.command(
            directory,
            "alone",
            priority=150,
            interval=ADVERT_INTERVAL,
            interface=_INTERFACE,
            address=f"{self._address}/24",
            scripts=tuple(
                keepalived.TrackScript(name=f"check{number}", path=paths[kind])
                for number, kind in enumerate(kinds, start=1)
            ),
        )
        self._log = directory / "log"
        with self._log.open("ab") as log:
            self._process = processes.start(*namespace.command(*command), output=log)

    @property
    def pids(self) -> tuple[int, ...]:
        """The parent, and the child that speaks VRRP and runs the scripts."""
        parent = self._process.pid
        return (parent, *processes.children(parent))

    def has_address(self) -> bool:
        """Tell whether the namespace of the calling thread has the address: only then can it be bound."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self._address, 0))
            except OSError:
                return False
        return True

    def await_address(self, *, limit: float = 30.0) -> float:
        """Wait until it has the address; give when, in monotonic seconds."""
        return await_true(self.has_address, what="keepalived takes its address", limit=limit, log=self._log)

    def await_release(self, *, limit: float = 30.0) -> float:
        """Wait until it has given up the address; give when."""
        return await_true(
            lambda: not self.has_address(), what="keepalived gives up its address", limit=limit, log=self._log
        )

    def stop(self) -> None:
        """End it. Safe to repeat."""
        processes.end(self._process)


def _plug_in(namespace: Namespace) -> None:
    """Give a namespace an interface for VRRP, with nobody at the other end."""
    namespace.ip("link", "add", "name", _INTERFACE, "type", "veth", "peer", "name", "nobody")
    namespace.ip("address", "add", f"{_NET}.1/24", "dev", _INTERFACE)
    for end in (_INTERFACE, "nobody"):
        namespace.ip("link", "set", end, "up")


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)
    return path
