"""A farm on a kernel whose verifier refuses the packet filter: the next one takes its place, or the reason is told."""

import json

from lan.as_found import as_found, differences
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd
from refused_filter import refused_object

from l2mode.kernel.libbpf import OBJECT

pytestmark = needs_root

VERIFIERS_WORDS = "invalid func"


def machine(directory, *, programs=True):
    """Run a command where the packet filter's file is one that is refused, and perhaps without other programs.

    What it mounts only it sees: `ip netns exec` gives it mounts of its own.
    """
    search = "" if programs else "export PATH=/nonexistent;"
    script = f'mount --bind "$1" "$2"; shift 2; {search} exec "$@"'
    return ["sh", "-ec", script, "sh", str(refused_object(directory)), str(OBJECT)]


def test_auto_falls_to_the_queue_serves_every_client_and_says_so_everywhere(tmp_path):
    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery="directed", packet_filter="auto", machine=machine(tmp_path)) as farm,
        crowd(lan.clients) as clients,
    ):
        farm.start().serving()
        load = clients.newcomers(VIP[4], lan.clients.clients(20), rate=40, timeout=5.0)
        load.wait_for_more(20)
        clients.end(load)
        assert load.failed == []

        log = farm.log("web1")
        [line] = [line for line in log.splitlines() if "the filter is nfqueue in place of tc" in line]
        assert " warning " in line
        assert "refuses the packet filter: Invalid argument" in line
        assert "a Python process judges every packet" in line
        assert VERIFIERS_WORDS not in line
        assert VERIFIERS_WORDS in farm.cli("logs", "--level", "debug", node="web1").stdout
        assert VERIFIERS_WORDS not in farm.cli("logs", node="web1").stdout

        status = farm.cli("status", node="web1")
        assert status.stderr.startswith("web1: the filter is nfqueue in place of tc (")
        told = json.loads(farm.cli("status", "--json", node="web1").stdout)["filters"]["web1"]
        assert (told["name"], told["degraded"]) == ("nfqueue", True)
        samples = dict(line.rsplit(" ", 1) for line in farm.cli("metrics", node="web1").stdout.splitlines())
        in_use = [name for name, value in samples.items() if name.startswith("hcsidecar_filter{") and value == "1.0"]
        assert len(in_use) == 1
        assert 'filter="nfqueue"' in in_use[0]
        assert samples['hcsidecar_filter_degraded{farm="apache",node="web1"}'] == "1.0"


def test_a_filter_that_is_asked_for_ends_the_daemon_with_the_reason_and_leaves_the_machine_as_it_was(tmp_path):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery="directed", packet_filter="tc", machine=machine(tmp_path)) as farm,
    ):
        before = as_found(lan.servers["web1"])
        daemon = farm.start().daemons["web1"]
        assert daemon.wait(45) == 1
        last = farm.log("web1").splitlines()[-1]
        assert "layer-2 mode: Linux " in last
        assert "refuses the packet filter: Invalid argument; report what the kernel objects to" in last
        assert 'or set filter = "nfqueue" in [l2]' in last
        assert VERIFIERS_WORDS not in last
        assert differences(before, as_found(lan.servers["web1"])) == []


def test_where_no_filter_works_every_reason_is_told(tmp_path):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery="directed", packet_filter="auto", machine=machine(tmp_path, programs=False)) as farm,
    ):
        daemon = farm.start().daemons["web1"]
        assert daemon.wait(45) == 1
        last = farm.log("web1").splitlines()[-1]
        assert "tc: Linux " in last
        assert "nfqueue: the command iptables is missing" in last
        assert "or install iptables" in last
