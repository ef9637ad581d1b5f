"""What `hcsidecar check-config --online` says of a machine before anything is started there."""

import json
import subprocess
import sys
from ipaddress import ip_address

from lan.as_found import as_found, differences
from lan.namespaces import run
from refused_filter import refused_object

from l2mode.core.verdict import Delivery
from l2mode.kernel.preflight import try_here

VIPS = (ip_address("192.0.2.50"), ip_address("2001:db8::50"))
BY_SOFTWARE = "eth0 is made by software (veth), where XDP has no advantage or does not work"
L2 = """
[l2]
delivery = "{delivery}"
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80]
"""


def told(delivery=Delivery.DIRECTED, *, wanted="auto", **more):
    found = try_here(VIPS, delivery=delivery, interface=None, address="192.0.2.11", wanted=wanted, **more)
    return [(one.level, one.message) for one in found]


def test_a_machine_that_can_serve_says_with_which_filter_and_nothing_is_changed(server):
    before = as_found(server)
    assert told() == [
        ("info", "eth0 is one end of a veth pair: right for directed delivery"),
        ("info", f"the kernel takes the filter tc: {BY_SOFTWARE}"),
    ]
    assert differences(before, as_found(server)) == []


def test_a_kernel_that_refuses_the_filter_gets_the_queue_with_a_warning(server):
    (_, _), (level, text), (warning, why) = told(object_file=refused_object(server.directory))
    assert (level, text) == ("info", "the kernel takes the filter nfqueue: it needs no BPF")
    assert warning == "warning"
    assert why.startswith("the filter is nfqueue in place of tc (Linux ")


def test_a_filter_that_is_asked_for_and_refused_is_a_problem(server):
    _, (level, text) = told(wanted="tc", object_file=refused_object(server.directory))
    assert level == "error"
    assert "refuses the packet filter: Invalid argument" in text


def test_without_capabilities_the_filter_is_not_judged(server):
    printed = server.run_without(
        ["bpf", "perfmon", "sys_admin"],
        """
from kernel.test_preflight import told
print(told()[-1])
""",
    )
    assert printed.strip() == "('unseen', 'which filter works was not tried: this process has no BPF, PERFMON')"


def test_where_no_interface_has_the_nodes_address_that_is_the_problem(server):
    server.sh("ip address del 192.0.2.11/24 dev eth0")
    assert told() == [("error", "no interface holds this node's address 192.0.2.11")]


def checked(server, tmp_path, delivery, *options):
    etc = tmp_path / "etc"
    nodes = ["--node", "web1=192.0.2.11", "--node", "web2=192.0.2.12"]
    subprocess.run([sys.executable, "-m", "hcsidecar", "init", etc, "--name", "apache", *nodes], check=True)
    with (etc / "farm.toml").open("a") as file:
        file.write(L2.format(delivery=delivery))
    command = ["ip", "netns", "exec", server.namespace, sys.executable, "-m", "hcsidecar", "check-config"]
    return subprocess.run(
        [*command, etc / "farm.toml", "--online", *options], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_tells_of_this_machine_and_exits_with_0(server, tmp_path):
    done = checked(server, tmp_path, "directed")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = lines.index("  machine    web1, with the virtual IPs:")
    assert lines[at + 1] == "    ok       eth0 is one end of a veth pair: right for directed delivery"
    assert lines[at + 2].startswith("    ok       the kernel takes the filter tc: ")


def test_an_interface_that_cannot_serve_is_a_problem_and_exits_with_1(server, tmp_path):
    run(server.namespace, "ip", "link", "add", "link", "eth0", "name", "x0", "type", "macvlan", "mode", "bridge")
    server.sh("ip link set x0 up; ip addr del 192.0.2.11/24 dev eth0; ip addr add 192.0.2.11/24 dev x0")
    done = checked(server, tmp_path, "flooded", "--json")
    assert done.returncode == 1
    machine = json.loads(done.stdout)["machine"]
    assert (machine["node"], machine["ok"]) == ("web1", False)
    [problem] = [one for one in machine["findings"] if one["grade"] == "problem"]
    assert problem["text"].startswith("x0 is a macvlan, bridge, which flooded delivery cannot use: ")
    assert problem["remedy"].startswith('set delivery = "directed"')


def test_elsewhere_the_machine_is_not_looked_at(server, tmp_path):
    server.sh("ip address del 192.0.2.11/24 dev eth0")
    done = checked(server, tmp_path, "directed")
    assert done.returncode == 0
    assert "unseen   this machine was not looked at: the farm has no address of this machine" in done.stdout
