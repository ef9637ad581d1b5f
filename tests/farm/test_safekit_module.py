"""A SafeKit module runs as it is: imported, on three machines with Debian's Apache, at a virtual IP and health URLs.

Each machine has process numbers, file systems and a network of its own: the module's scripts kill every web server that
they can see.
"""

import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from daemons import RealFarm, ended, wait_for
from lan.namespaces import run
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd

pytestmark = needs_root

MODULE = Path(__file__).parents[1] / "safekit" / "web_farm"
MACHINE = """
for place in /run/apache2 /run/lock/apache2 /var/log/apache2 /var/www/html; do
    mkdir -p $place && mount -t tmpfs none $place
done
echo {name} >/var/www/html/index.html
{python} -m hcsidecar run --config {config} --node {name}
"""


class ModuleFarm(RealFarm):
    """The imported module, and machines that run its daemons."""

    def __init__(self, lan):
        self.lan = lan
        self.directory = lan.directory
        self.names = tuple(lan.servers)
        self.config = self.directory / "module" / "farm.toml"
        self.addresses = {name: host.addresses[4] for name, host in lan.servers.items()}
        self.daemons = {}
        self._logs = {}

    def start(self, *names):
        for name in names or self.names:
            self._logs[name] = self.directory / f"{name}.log"
            script = MACHINE.format(name=name, python=sys.executable, config=self.config)
            own = [
                "unshare",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount",
                "--mount-proc",
                "--",
                "sh",
                "-c",
                script,
            ]
            with self._logs[name].open("a") as log:
                self.daemons[name] = subprocess.Popen(
                    ["ip", "netns", "exec", self.lan.servers[name].namespace, *own],
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
        return self

    def in_machine(self, name, *command):
        """Run a command beside the processes of a machine."""
        [first] = Path(f"/proc/{self.daemons[name].pid}/task/{self.daemons[name].pid}/children").read_text().split()
        inside = ["nsenter", "--target", first, "--net", "--pid", "--mount", "--", *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)

    def cli(self, *arguments, node, timeout=60):
        words = [sys.executable, "-m", "hcsidecar", arguments[0], "--config", str(self.config), "--node", node]
        return self.in_machine(node, *words, *arguments[1:])

    def health(self, name):
        inside = self.lan.servers[name].namespace
        told = run(inside, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", self.url(name), check=False)
        return int(told or 0)

    def servers_of(self, count):
        """Ask at the virtual IP from so many client addresses; give who answered how many, "" for nobody."""
        met = Counter()
        for client in self.lan.clients.clients(count):
            command = ["curl", "-s", "--interface", client, "--max-time", "3", f"http://{VIP[4]}/"]
            met[run(self.lan.clients.namespace, *command, check=False).strip()] += 1
        return met

    def end(self):
        # The machine goes with its first process: the daemon, and the web server that outlives it.
        for daemon in self.daemons.values():
            daemon.send_signal(signal.SIGKILL)
        for daemon in self.daemons.values():
            daemon.wait(10)


@contextmanager
def imported(directory):
    """Lay a network, import the module for it, and end all its machines."""
    with site(directory) as lan:
        farm = ModuleFarm(lan)
        nodes = [word for name, address in farm.addresses.items() for word in ("--node", f"{name}={address}")]
        words = [sys.executable, "-m", "hcsidecar", "import-safekit", str(MODULE), str(farm.config.parent)]
        words += ["--name", "web_farm", "--macro", f"FARM_IP={VIP[4]}", *nodes]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        text = farm.config.read_text()
        assert "[farm]\n" in text
        farm.config.write_text(
            text.replace("[farm]\n", f'[farm]\nstate_dir = "{directory}/s"\n') + '\n[health]\nlame_duck = "2s"\n'
        )
        with ended(farm):
            yield farm


def test_a_module_runs_unchanged_with_apache_in_both_modes(tmp_path):
    with imported(tmp_path) as farm:
        farm.start()
        wait_for(lambda: all(farm.health(name) == 200 for name in farm.names), limit=60, what="every node Ready")
        names = set(farm.names)
        wait_for(
            lambda: set(farm.servers_of(30)) == names, limit=20, what="answers of every server, and of nobody else"
        )
        for name in farm.names:
            assert "script: the web server is started" in farm.log(name)

        # Apache dies on one: started again by its script, and no client meets it before.
        assert farm.in_machine("web2", "pkill", "-9", "apache2").returncode == 0
        wait_for(lambda: "WEB fails" in farm.log("web2"))
        wait_for(lambda: farm.health("web2") == 200, limit=30, what="web2 Ready again")
        story = farm.log("web2")
        assert "restart after a failure: check WEB" in story
        assert "script: starting the web server of shop (UP to UP, restart)" in story
        wait_for(lambda: set(farm.servers_of(30)) == names, limit=20, what="answers of every server again")

        # An update of all, one after the other, costs nobody a request.
        with crowd(farm.lan.clients) as clients:
            load = clients.newcomers(VIP[4], farm.lan.clients.clients(50), rate=50)
            load.wait_for_more(50)
            words = ["-m", "hcsidecar", "rolling", "restart", "--config", str(farm.config)]
            done = farm.in_machine("web1", sys.executable, *words)
            assert done.returncode == 0, done.stdout + done.stderr
            load.wait_for_more(50)
            clients.end(load)
            assert load.failed == []
        assert [farm.log(name).count("restart by root, drains") for name in farm.names] == [1, 1, 1]

        # Stopped, one serves nobody, and the others all.
        assert farm.cli("stop", node="web3").returncode == 0
        assert farm.health("web3") == 404
        assert "script: stopping the web server (UP to WAIT, stop)" in farm.log("web3")
        assert farm.in_machine("web3", "pgrep", "apache2").returncode == 1
        assert set(farm.servers_of(30)) == {"web1", "web2"}

        # A web server that does not start makes the script ask for a stop, in SafeKit's words.
        assert farm.in_machine("web3", "mount", "-t", "tmpfs", "none", "/etc/apache2").returncode == 0
        assert farm.cli("start", node="web3").returncode == 0
        wait_for(lambda: "stop after a failure: start_both asks for it" in farm.log("web3"), limit=30)
        wait_for(
            lambda: "stopped by itself: start_both asks for it" in farm.cli("status", node="web3").stdout, limit=30
        )
        assert "script: the web server did not start" in farm.log("web3")
