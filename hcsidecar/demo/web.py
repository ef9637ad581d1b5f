"""The web server of the demo, nginx or Apache: its command and configuration, and the scripts on the bridge."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from hcsidecar.demo.plan import HANG, START, STOP, STOP_PATIENCE, DemoServer, Plan
from hcsidecar.demo.programs import Tool
from hcsidecar.demo.texts import apache_config, nginx_config

NGINX = Tool(name="nginx", package="nginx-light")
APACHE = Tool(name="apache2", package="apache2-bin")
_STOP_POLL = 0.1
"Seconds between two checks of the stop script."


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """nginx or Apache, as it is installed here."""

    tool: Tool
    path: str

    @classmethod
    def found(cls, tools: Mapping[Tool, str]) -> "WebServer":
        """Return nginx if it is among the programs that were found, otherwise Apache."""
        tool = NGINX if NGINX in tools else APACHE
        return cls(tool=tool, path=tools[tool])

    def command(self, plan: Plan, server: DemoServer) -> list[str]:
        """Return the command that starts it: on the bridge in the background, on loopback in the foreground."""
        config = str(plan.web_config(server))
        if self.tool is NGINX:
            return [self.path, "-p", str(plan.home(server)), "-c", config, "-e", "stderr"]
        return [self.path, "-f", config, *([] if plan.bridged else ["-DFOREGROUND"])]

    def config(self, plan: Plan, server: DemoServer, *, user: str | None) -> str:
        """Return its configuration; `user` is that of Apache's workers if root starts it."""
        return nginx_config(plan, server) if self.tool is NGINX else apache_config(plan, server, user=user)

    def scripts(self, plan: Plan, server: DemoServer) -> Mapping[str, str]:
        """Return its scripts, by their paths in the server's directory."""
        pid_file, group_file = (shlex.quote(str(path)) for path in (plan.pid_file(server), plan.group_file(server)))
        # With QUIT nginx first answers its present requests. Apache would ignore workers that hang.
        gently = "QUIT" if self.tool is NGINX else "TERM"
        return {
            START: f"""\
#!/bin/sh
# Starts the web server, and ends when it listens.
# After a power cut the ids in these files belong to no process, or to another one.
rm -f {pid_file} {group_file}
{shlex.join(self.command(plan, server))} || exit
until [ -s {pid_file} ]; do sleep 0.05; done
# Master and workers are a process group. Apache may end, and remove its file, before its workers have ended.
cp {pid_file} {group_file}
""",
            STOP: f"""\
#!/bin/sh
# Stops the web server: gently, and waits {STOP_PATIENCE:g} s for its end; with `force`, kills all of it.
[ -s {group_file} ] || exit 0
master=$(cat {group_file})
if [ "$1" = force ]; then
    kill -s KILL -- "-$master"
    while kill -s 0 -- "-$master"; do sleep 0.05; done
    rm {group_file}
    exit 0
fi 2>/dev/null
kill -s {gently} "$master"
for _ in $(seq {round(STOP_PATIENCE / _STOP_POLL)}); do
    kill -s 0 -- "-$master" 2>/dev/null || exec rm {group_file}
    sleep {_STOP_POLL:g}
done
echo "some of the web server is still there after {STOP_PATIENCE:g} s"
exit 1
""",
            HANG: f"""\
#!/bin/sh
# Makes the web server hang: its workers are stopped, and its master does not notice.
master=$(cat {pid_file}) || exit
kill -s STOP $(cat "/proc/$master/task/$master/children")
""",
        }
