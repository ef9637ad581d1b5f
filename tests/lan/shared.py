"""A farm of real daemons on a site, which share its virtual IPs in layer-2 mode."""

import contextlib
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from daemons import RealFarm, UnixConnection, wait_for
from lan.namespaces import describe, kill_all_in, processes_in
from lan.site import VIP
from lan.web import PORT, SECOND_PORT, UDP_PORT, web_servers

from hcsidecar.net.keyring import Keyring
from l2mode.core.buckets import director_among

_FILE = """
[farm]
name = "{farm}"
key_file = "{key_file}"
state_dir = "{directory}/s"
{nodes}
[heartbeat]
preset = "lan"
[health]
lame_duck = "{lame_duck}"
[l2]
delivery = "{delivery}"
filter = "{filter}"
unmatched = "{unmatched}"
{vips}
[[l2.share]]
name = "APACHE"
ports = [{port}, {second_port}]
[[l2.share]]
name = "ECHO"
protocol = "udp"
ports = [{udp_port}]
by = "port"
[[check]]
type = "http"
name = "HTTP"
address = "127.0.0.1"
port = {port}
interval = "100ms"
"""


class SharedFarm(RealFarm):
    """The farm file, the daemons and the web servers of a site. `RealFarm` says what else can be asked.

    `machine` is a command that runs the daemons, as on a machine that lacks something. `nodes` names the servers that
    are its nodes, all of them unless given.
    """

    def __init__(
        self,
        site,
        web,
        *,
        delivery,
        packet_filter,
        unmatched="drop",
        powers=None,
        lame_duck="10s",
        machine=(),
        name="apache",
        nodes=None,
    ):
        self.site = site
        self.web = web
        self.name = name
        self.directory = site.directory
        self.names = tuple(nodes or site.servers)
        servers = {name: site.servers[name] for name in self.names}
        self.addresses = {name: host.addresses[4] for name, host in servers.items()}
        # Beside another farm's: the path of the sockets has a limit, so that each cannot have a directory.
        key_file = "farm.key" if nodes is None else f"{name}.key"
        self.config = self.directory / ("farm.toml" if nodes is None else f"{name}.toml")
        self.daemons = {}
        self._logs = {}
        self._machine = machine
        powers = powers or {}
        nodes = "\n".join(
            f'[[node]]\nname = "{name}"\npower = {powers.get(name, 1)}\n'
            f'addresses = {{ default = "{host.addresses[4]}", six = "{host.addresses[6]}" }}'
            for name, host in servers.items()
        )
        self.config.write_text(
            _FILE.format(
                farm=name,
                key_file=key_file,
                directory=self.directory,
                nodes=nodes,
                delivery=delivery,
                filter=packet_filter,
                unmatched=unmatched,
                vips="\n".join(f'[[l2.vip]]\naddress = "{vip}"' for vip in VIP.values()),
                port=PORT,
                second_port=SECOND_PORT,
                udp_port=UDP_PORT,
                lame_duck=lame_duck,
            )
        )
        Keyring.create(self.directory / key_file, now=datetime.now(UTC)).write(replace=False)

    def start(self, *names):
        """Start daemons, all of them unless named."""
        for name in names or self.names:
            self._logs[name] = Path(self.directory, f"{name}.log")
            with self._logs[name].open("a") as log:
                self.daemons[name] = subprocess.Popen(
                    [*self._inside_of(name), *self._machine, *self._hcsidecar("run"), "--node", name],
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
        return self

    def cli(self, *arguments, node=None, timeout=60):
        """Run a command of `hcsidecar`, on the node that it asks."""
        node = node or self.names[0]
        command = [*self._inside_of(node), *self._hcsidecar(*arguments), "--node", node]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def of_all(self, *arguments, timeout=60):
        """Run a command of `hcsidecar` that asks all nodes, on the first one."""
        command = [*self._inside_of(self.names[0]), *self._hcsidecar(*arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def serving(self, *names):
        """Wait until these nodes, or all that run, are one view and each has claimed its share.

        A node of power 0 is in no view, and has nothing to claim.
        """
        names = sorted(names or self.daemons)
        for name in names:
            wait_for(
                lambda name=name: self._agrees(name, names),
                # Daemons that start at once share the cores with the kernel's verifier, and with other tests.
                limit=45,
                what=f"{name} in the view of {names}, its share claimed",
            )
        return self

    def set_powers(self, powers):
        """Set the powers of nodes one after the other, and wait until every node knows them and has what it is to take.

        Over the socket, as `hcsidecar power` does: its start takes longer than the change.
        """
        for name, power in powers.items():
            answer = self.ask(name, "/api/v1/power", {"power": power, "share": None})
            assert answer["ok"], answer
        wait_for(lambda: self._know(powers), what=f"powers {powers} in every node's status")
        return self.serving()

    def ask(self, name, path, body=None):
        """Give what a node's daemon answers over its socket, or None when it does not answer; a body is posted."""
        connection = UnixConnection(self.socket(name))
        try:
            posted = {} if body is None else {"body": json.dumps(body), "headers": {"Content-Type": "application/json"}}
            connection.request("POST" if posted else "GET", path, **posted)
            response = connection.getresponse()
            return None if response.status == 503 else json.loads(response.read())
        except OSError:
            return None
        finally:
            connection.close()

    def explain(self, client):
        """Say what becomes of the TCP connections of a client, as `hcsidecar explain` does."""
        explained = self.ask(next(iter(self.daemons)), f"/api/v1/layer-two/explain?address={client}")
        return next(share for share in explained["shares"] if share["share"] == "APACHE")

    def owner(self, client):
        """Name the node that takes the TCP connections of a client."""
        return self.explain(client)["owner"]

    def director(self, family, *, among=None):
        """Name the node that answers for the virtual IP of this family, when these nodes are the view."""
        return director_among(among or self.names, ip_address(VIP[family]).packed)

    def freeze(self, name):
        """Stop a daemon in the middle of what it does, as a hypervisor does with a whole machine."""
        self.daemons[name].send_signal(signal.SIGSTOP)

    def thaw(self, name):
        """Let it go on."""
        self.daemons[name].send_signal(signal.SIGCONT)

    def crash(self, name):
        """Cut a server's cable and kill all that runs there, at once."""
        self.site.cut(name)
        self.kill_daemon(name)
        kill_all_in(self.site.servers[name].namespace)

    def kill_daemon(self, name):
        """Kill the daemon alone; the application lives on."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait(10)

    def shut_down(self, name, *, limit=30):
        """End a daemon as systemd does, and wait for its end."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        assert daemon.wait(limit) == 0, self.log(name)

    def left_running(self, name):
        """Describe the processes of a server that are neither daemons of this farm nor its web server."""
        known = {daemon.pid for daemon in self.daemons.values()}
        found = {pid: describe(pid) for pid in processes_in(self.site.servers[name].namespace)}
        return [what for pid, what in found.items() if pid not in known and "nginx" not in what]

    def socket(self, name):
        """Give the control socket of a node's daemon."""
        return self.directory / "s" / self.name / name / "control.sock"

    def show_logs(self):
        """Print what all daemons have said."""
        for name, path in self._logs.items():
            print(f"--- log of {name}\n{path.read_text()}")  # noqa: T201 - pytest shows it

    def _agrees(self, name, names):
        daemon = self.daemons[name]
        assert daemon.poll() is None, f"{name} has ended:\n{self.log(name)}"
        status = self.status(name)
        if status is None:
            return False
        powers = {row["name"]: row["power"] for row in status["nodes"]}
        if not powers[name]:
            return not status["view"]
        if status["view"] != [other for other in names if powers[other]]:
            return False
        layer_two = self.ask(name, "/api/v1/layer-two")
        return layer_two["lease_open"] and not any(share["pending"] for share in layer_two["shares"])

    def _know(self, powers):
        """Say whether every node knows these powers."""
        documents = [self.status(name) for name in self.daemons]
        rows = [{row["name"]: row["power"] for row in document["nodes"]} for document in documents if document]
        return len(rows) == len(self.daemons) and all(known.items() >= powers.items() for known in rows)

    def _inside_of(self, name):
        return ["ip", "netns", "exec", self.site.servers[name].namespace]

    def _hcsidecar(self, command, *arguments):
        return [sys.executable, "-m", "hcsidecar", command, "--config", str(self.config), *arguments]


@contextlib.contextmanager
def several_farms(site, farms, **settings):
    """Run web servers on a site and several farms, each of the nodes that `farms` gives by its name."""
    with web_servers(site) as web, contextlib.ExitStack() as stack:
        made = [SharedFarm(site, web, name=name, nodes=nodes, **settings) for name, nodes in farms.items()]
        for farm in made:
            stack.callback(farm.end)
        try:
            yield made
        except BaseException:
            for farm in made:
                farm.show_logs()
            raise


@contextlib.contextmanager
def shared_farm(site, **settings):
    """Run web servers on a site, and a farm whose daemons the test starts; end them, and see that nothing is left.

    Shows the daemons' logs when the test failed.
    """
    with web_servers(site) as web:
        farm = SharedFarm(site, web, **settings)
        try:
            yield farm
            farm.end()
            left = {name: farm.left_running(name) for name in farm.names}
            assert not any(left.values()), f"left running: {left}"
        except BaseException:
            farm.show_logs()
            raise
        finally:
            farm.end()
