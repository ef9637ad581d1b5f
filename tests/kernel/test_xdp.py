import pytest
from kernel.tiny_programs import XDP, XDP_DROP, XDP_PASS, memory, program
from lan.as_found import as_found, differences
from lan.namespaces import run

from l2mode.kernel.errors import FilterError
from l2mode.kernel.netlink import route
from l2mode.kernel.tc import index_of
from l2mode.kernel.xdp import XdpFilter, program_at

GENERIC, NATIVE = 2, 4


def xdp_filter(server, *, record=None, generic=True, answer=XDP_PASS):
    tiny = program(XDP, answer, "ours")
    return XdpFilter(tiny, memory(), generic=generic, interface="eth0", record=record or server.record())


def present(server):
    """Name the program of the interface."""
    number = program_at(index_of("eth0"))
    return None if number is None else server.json(f"bpftool -j prog show id {number}")["name"]


def somebody_attaches(mode=GENERIC):
    """Attach a stranger's program, whatever is there."""
    stranger = program(XDP, XDP_DROP, "stranger")
    set_xdp(stranger.fd, mode)
    return stranger


def set_xdp(fd, mode=GENERIC):
    with route() as ip:
        ip.link("set", index=index_of("eth0"), xdp={"attrs": [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", mode)]})


@pytest.mark.parametrize(("generic", "name", "mode"), [(True, "xdp generic", "xdpgeneric"), (False, "xdp", "xdp")])
def test_the_program_is_attached_in_its_mode_and_all_is_left_as_found(server, generic, name, mode):
    before = as_found(server)
    ours = xdp_filter(server, generic=generic)
    assert ours.name == name
    ours.attach()
    ours.attach()
    assert present(server) == "ours"
    assert f" {mode} " in server.sh("ip link show dev eth0")
    ours.detach()
    ours.detach()
    assert differences(before, as_found(server)) == []
    assert server.told == [("info", "the packet filter is removed from eth0")]


def test_the_program_of_somebody_else_is_never_replaced(server):
    stranger = somebody_attaches()
    ours = xdp_filter(server)
    with pytest.raises(FilterError) as caught:
        ours.attach()
    assert caught.value.problem == (
        f"eth0 has an XDP program {stranger.number} (stranger) already, and only one has room"
    )
    assert caught.value.remedy.startswith('set filter = "tc" in [l2]')
    ours.detach()
    assert present(server) == "stranger"


def test_the_program_of_somebody_who_was_faster_is_not_replaced(server):
    ours = xdp_filter(server)
    ours.attach()
    somebody_attaches()
    with pytest.raises(FilterError, match="stranger"):
        ours.repair()
    ours.detach()
    assert present(server) == "stranger"


def test_a_program_that_somebody_removes_is_put_back_and_told(server):
    ours = xdp_filter(server)
    ours.attach()
    assert ours.repair() is None
    set_xdp(-1)
    assert ours.repair() == "the packet filter was removed from eth0: put back"
    assert present(server) == "ours"


def leave_behind(server, *, generic=True):
    server.run_killed(f"""
from l2mode.kernel.xdp import XdpFilter
tiny = program(XDP, 2, "killed")
XdpFilter(tiny, memory(), generic={generic}, interface="eth0", record=record).attach()
""")


@pytest.mark.parametrize("generic", [True, False])
def test_a_killed_process_leaves_the_program_and_the_next_one_takes_its_place(server, generic):
    before = as_found(server)
    leave_behind(server)
    assert present(server) == "killed"
    record = server.record()
    ours = xdp_filter(server, record=record, generic=generic)
    ours.attach()
    assert len(record.changes) == 1
    record.restore_left_over()
    assert present(server) == "ours"
    ours.detach()
    assert differences(before, as_found(server)) == []


def test_a_program_left_in_the_other_mode_makes_room(server):
    leave_behind(server, generic=True)
    record = server.record()
    xdp_filter(server, record=record, generic=False).attach()
    assert present(server) == "ours"
    assert " xdp " in server.sh("ip link show dev eth0")
    assert len(record.changes) == 1


@pytest.mark.parametrize(
    "script",
    [
        "record.restore()",
        """
from l2mode.kernel.xdp import XdpFilter
ours = XdpFilter(program(XDP, 2, "ours"), memory(), generic=True, interface="eth0", record=record)
ours.attach()
ours.detach()
""",
    ],
    ids=["put back", "replaced"],
)
def test_what_was_left_is_found_without_the_right_to_open_programs_of_others(server, script):
    before = as_found(server)
    leave_behind(server)
    assert server.run_without(["sys_admin"], script) == "info the packet filter is removed from eth0\n"
    assert differences(before, as_found(server)) == []


def test_what_a_killed_process_left_is_put_back_by_the_record_alone(server):
    before = as_found(server)
    leave_behind(server)
    server.record().restore()
    assert differences(before, as_found(server)) == []


def test_a_process_killed_while_it_replaces_the_program_leaves_no_program(server):
    before = as_found(server)
    leave_behind(server)
    # The next one is killed after it has written down its own program and before it has attached it.
    server.run_killed("""
from l2mode.kernel.changes import XdpAttached
record.note(XdpAttached(interface="eth0", generic=True, program_id=program(XDP, 2, "next").number))
""")
    server.record().restore()
    assert differences(before, as_found(server)) == []


def test_a_program_whose_record_is_lost_is_a_strangers(server):
    leave_behind(server)
    (server.directory / "kernel.json").unlink()
    with pytest.raises(FilterError, match=r"\(killed\) already"):
        xdp_filter(server).attach()


def test_a_refusal_of_the_driver_leaves_nothing_and_is_said_in_the_kernels_words(server):
    run(server.network, "ip", "link", "set", "peer0", "mtu", "9000")
    before = as_found(server)
    record = server.record()
    with pytest.raises(FilterError) as caught:
        xdp_filter(server, generic=False, record=record).attach()
    assert caught.value.problem.startswith("eth0 takes no program as xdp: ")
    assert "MTU" in caught.value.problem
    assert 'filter = "tc"' in caught.value.remedy
    assert record.changes == ()
    assert differences(before, as_found(server)) == []


def test_an_interface_that_is_gone_has_taken_its_program_along(server):
    ours = xdp_filter(server)
    ours.attach()
    server.sh("ip link del eth0")
    with pytest.raises(FilterError, match="there is no interface eth0"):
        ours.repair()
    ours.detach()
    assert server.told == []
