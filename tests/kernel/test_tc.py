import os

import pytest
from kernel.tiny_programs import TC, TC_ACT_SHOT, TC_ACT_UNSPEC, XDP, XDP_PASS, link_at_tcx_ingress, memory, program
from lan.as_found import as_found, differences
from lan.namespaces import run

from l2mode.kernel.errors import FilterError
from l2mode.kernel.tc import TcFilter, index_of

NAME = "hcsidecar:apache"


def tc_filter(server, *, record=None, farm="apache", answer=TC_ACT_UNSPEC, name="ours"):
    tiny = program(TC, answer, name)
    return TcFilter(tiny, memory(), interface="eth0", farm=farm, record=record or server.record())


def ingress(server):
    """What `tc` says hangs there: priority, kind and name, or program."""
    rows = server.json("tc -j filter show dev eth0 ingress")
    return [
        (row["pref"], row["kind"], row["options"].get("bpf_name", ""), row["options"].get("prog", {}).get("name", ""))
        for row in rows
        if "options" in row
    ]


def reaches(server):
    """True when a ping comes through to the server."""
    run(server.network, "sh", "-c", "ip address replace 192.0.2.1/24 dev peer0")
    answer = run(server.network, "sh", "-c", "ping -c1 -W1 192.0.2.11 || true")
    return " 0% packet loss" in answer


def test_the_filter_hangs_at_ingress_under_the_farms_name_and_filters(server):
    closed = tc_filter(server, answer=TC_ACT_SHOT)
    assert reaches(server)
    closed.attach()
    assert ingress(server) == [(1, "bpf", NAME, "ours")]
    assert not reaches(server)
    closed.detach()
    assert reaches(server)
    assert server.told == [
        ("info", f"the packet filter {NAME} is removed from eth0"),
        ("info", "the clsact qdisc of eth0 is removed"),
    ]


def test_all_is_left_as_it_was_found(server):
    before = as_found(server)
    ours = tc_filter(server)
    ours.attach()
    ours.attach()
    ours.detach()
    ours.detach()
    assert differences(before, as_found(server)) == []


def test_filters_of_others_are_left_alone(server):
    server.sh(
        "tc qdisc add dev eth0 clsact;"
        "tc filter add dev eth0 ingress protocol ip prio 7 u32 match ip dport 80 0xffff flowid 1:1;"
        "tc filter add dev eth0 egress protocol ip prio 3 u32 match ip dport 81 0xffff flowid 1:2"
    )
    before = as_found(server)
    ours = tc_filter(server)
    ours.attach()
    assert [row[:2] for row in ingress(server)] == [(1, "bpf"), (7, "u32"), (7, "u32")]
    assert ours.warnings == ()
    ours.detach()
    assert differences(before, as_found(server)) == []


@pytest.mark.parametrize("qdisc", ["clsact", "ingress"])
def test_a_qdisc_that_was_there_before_stays(server, qdisc):
    server.sh(f"tc qdisc add dev eth0 {qdisc}")
    before = as_found(server)
    ours = tc_filter(server)
    ours.attach()
    assert ingress(server) == [(1, "bpf", NAME, "ours")]
    ours.detach()
    assert differences(before, as_found(server)) == []


def test_a_qdisc_that_others_have_begun_to_use_stays(server):
    ours = tc_filter(server)
    ours.attach()
    server.sh("tc filter add dev eth0 egress protocol ip prio 3 u32 match ip dport 81 0xffff flowid 1:2")
    ours.detach()
    assert "clsact" in server.sh("tc qdisc show dev eth0")
    assert server.told[-1] == ("info", "the clsact qdisc of eth0 stays: others have hung filters on it")


def test_a_filter_that_comes_first_is_told(server):
    server.sh(
        "tc qdisc add dev eth0 clsact;"
        "tc filter add dev eth0 ingress protocol ip prio 1 u32 match ip dport 80 0xffff flowid 1:1"
    )
    ours = tc_filter(server)
    ours.attach()
    assert ours.warnings == (
        "u32 at priority 1 on eth0 comes before this filter: what it lets through is not shared out",
    )
    server.sh("tc filter del dev eth0 ingress protocol ip prio 1")
    assert ours.repair() is None
    assert ours.warnings == ()


def test_a_program_at_tcx_comes_before_every_filter_and_is_told(server):
    stranger = program(TC, TC_ACT_UNSPEC, "stranger")
    try:
        link = link_at_tcx_ingress(stranger, index_of("eth0"))
    except OSError:
        pytest.skip("this kernel has no tcx")
    ours = tc_filter(server)
    ours.attach()
    (warning,) = ours.warnings
    assert warning.startswith(f"tcx program {stranger.number} (stranger) on eth0 comes before this filter: ")
    os.close(link)


def test_each_farm_has_a_filter_of_its_own_on_an_interface(server, tmp_path):
    (tmp_path / "mail").mkdir()
    apache = tc_filter(server)
    apache.attach()
    server.directory = tmp_path / "mail"
    mail = tc_filter(server, farm="mail")
    mail.attach()
    assert [row[:3] for row in ingress(server)] == [(1, "bpf", NAME), (2, "bpf", "hcsidecar:mail")]
    assert mail.warnings == ()
    apache.detach()
    assert [row[:3] for row in ingress(server)] == [(2, "bpf", "hcsidecar:mail")]


def test_a_filter_that_somebody_removes_is_put_back_and_told(server):
    ours = tc_filter(server)
    ours.attach()
    assert ours.repair() is None
    server.sh("tc qdisc del dev eth0 clsact")
    assert ours.repair() == "the packet filter was removed from eth0: put back"
    assert ingress(server) == [(1, "bpf", NAME, "ours")]
    ours.detach()
    assert "clsact" not in server.sh("tc qdisc show dev eth0")


def test_the_filter_follows_an_interface_that_was_made_anew(server):
    ours = tc_filter(server)
    ours.attach()
    server.sh("ip link del eth0")
    with pytest.raises(FilterError, match="there is no interface eth0"):
        ours.repair()
    server.sh("ip link add eth0 type veth peer name other")
    assert ours.repair() == "the packet filter was removed from eth0: put back"
    assert ingress(server) == [(1, "bpf", NAME, "ours")]


def test_a_killed_process_leaves_the_filter_and_the_next_one_takes_its_place(server):
    before = as_found(server)
    leave_behind(server)
    assert ingress(server) == [(1, "bpf", NAME, "killed")]
    record = server.record()
    ours = tc_filter(server, record=record)
    ours.attach()
    record.restore_left_over()
    assert ingress(server) == [(1, "bpf", NAME, "ours")]
    ours.detach()
    assert differences(before, as_found(server)) == []


def test_what_a_killed_process_left_is_put_back_by_the_record_alone(server):
    before = as_found(server)
    leave_behind(server)
    server.record().restore()
    assert differences(before, as_found(server)) == []


def test_a_filter_whose_record_is_lost_is_still_recognised_by_its_name(server):
    leave_behind(server)
    (server.directory / "kernel.json").unlink()
    ours = tc_filter(server)
    ours.attach()
    assert ingress(server) == [(1, "bpf", NAME, "ours")]


def test_what_the_kernel_refuses_is_said_with_a_remedy(server):
    wrong = TcFilter(program(XDP, XDP_PASS), memory(), interface="eth0", farm="apache", record=server.record())
    with pytest.raises(FilterError) as caught:
        wrong.attach()
    assert caught.value.problem.startswith("eth0 takes no tc filter: Invalid argument")
    assert "tc filter show dev eth0 ingress" in caught.value.remedy


def leave_behind(server):
    """Let a process set up the filter and be killed."""
    server.run_killed("""
from l2mode.kernel.tc import TcFilter
TcFilter(program(TC, -1, "killed"), memory(), interface="eth0", farm="apache", record=record).attach()
""")
