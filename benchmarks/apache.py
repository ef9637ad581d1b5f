"""An Apache of the benchmarks' own on loopback, and the scripts that start and stop it: the application under check."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.figures import CannotMeasureError
from benchmarks.wire import Namespace

ADDRESS: Final = "127.0.0.1"
PORT: Final = 8080
_MODULES: Final = "/usr/lib/apache2/modules"
_USER: Final = "www-data"
"Whom its workers become; network namespaces need root anyway."
STOP: Final = """\
#!/bin/sh
[ -e {pid} ] || exit 0
group=$(cat {pid})
rm -f {pid}
# One that hangs hears nothing else.
kill -s KILL -- "-$group" 2>/dev/null || exit 0
# The next one wants the same port.
tries=0
while [ $tries -lt 100 ] && kill -s 0 -- "-$group" 2>/dev/null; do tries=$((tries + 1)); sleep 0.01; done
"""
"What the stop script does; it never fails."


class Apache:
    """One Apache with its processes, all of which are in one group; it lives in a network namespace."""

    def __init__(self, home: Path, namespace: Namespace) -> None:
        why = why_not()
        if why is not None:
            raise CannotMeasureError(why)
        self._pid = home / "apache.pid"
        self._namespace = namespace
        config = home / "apache.conf"
        config.write_text(configuration(home))
        bin_dir = home / "bin"
        bin_dir.mkdir()
        self.start_script = _script(bin_dir / "start", f"#!/bin/sh\nexec apache2 -f {config} -k start\n")
        self.stop_script = _script(bin_dir / "stop", STOP.format(pid=self._pid))

    def start(self) -> None:
        """Start it as the start script does."""
        self._namespace.run(str(self.start_script))

    def stop(self) -> None:
        """End it as the stop script does, also when it hangs. Safe to repeat."""
        self._namespace.run(str(self.stop_script))

    def kill(self) -> None:
        """Kill all its processes, which clean up nothing."""
        self._tell(signal.SIGKILL)

    def hang(self) -> None:
        """Stop all its processes: the kernel goes on taking connections for it, and nobody answers."""
        self._tell(signal.SIGSTOP)

    def _tell(self, number: signal.Signals) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int(self._pid.read_text()), number)


def why_not() -> str | None:
    """Say why there can be no Apache here, or None."""
    return None if shutil.which("apache2") else "Apache is not installed (apt-get install apache2-bin)"


def configuration(home: Path) -> str:
    """Write the configuration; it touches nothing outside its directory."""
    modules = "\n".join(
        f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in ("mpm_event", "authz_core", "rewrite")
    )
    return f"""\
ServerRoot {home}
ServerName bench
DefaultRuntimeDir {home}
PidFile {home}/apache.pid
ErrorLog {home}/error.log
LogLevel warn
{modules}
User {_USER}
Group {_USER}
Listen {ADDRESS}:{PORT}
StartServers 1
RewriteEngine on
RewriteRule ^ - [R=200,L]
ErrorDocument 200 "It works"
"""


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path
