from dataclasses import replace

import pytest

from hcsidecar.core.targets.haproxy import (
    observation_of,
    to_deregister,
    to_register,
    why_not_deregistered,
    why_not_registered,
)
from hcsidecar.core.targets.haproxy_answers import (
    Admin,
    Checks,
    HaproxyServer,
    ServerAddress,
    process_in,
    refusal,
    server_in,
)
from hcsidecar.core.targets.registration import Presence, TargetError, Trouble

HERE = ServerAddress(
    backend="web",
    server="web1",
    address="192.0.2.11",
    port=80,
    options="check port 9010",
    check_port=9010,
    dynamic=True,
)
STATIC = replace(HERE, dynamic=False, check_port=None, options="")
CHECKED = Checks.CONFIGURED | Checks.ENABLED
WELL = HaproxyServer(
    address="192.0.2.11",
    port=80,
    admin=Admin(0),
    state=2,
    checks=CHECKED,
    check_port=9010,
    agent=Checks(0),
    sessions=0,
    idle=0,
    check_status="L7OK",
    check_words="L7OK/200 fine",
)
MAINT, DISABLED, DRAIN = Admin(1), Admin(5), Admin(8)
# What HAProxy 2.6.12 answered, but for columns that nobody reads.
SIGHT = """
New server registered.

1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_check_state srv_agent_state srv_fqdn \
srv_port srv_check_port
3 web 1 web1 2001:db8::11 2 8 6 0 - 80 9010
3 web 2 web10 192.0.2.12 2 0 6 0 - 80 9010

# pxname,svname,qcur,scur,status,srv_icur,check_status,check_code,last_chk,
web,web1,1,2,UP,3,* L7OK,200,"fine, ""it"" is",
web,web10,0,0,UP,0,L7OK,200,,
"""


def test_a_sight_is_read_by_the_names_of_its_columns_whatever_words_stand_before_it():
    assert server_in(SIGHT, HERE) == replace(
        WELL,
        address="2001:db8::11",
        admin=DRAIN,
        sessions=3,
        idle=3,
        check_words='L7OK/200 fine, "it" is',
    )
    assert server_in(SIGHT, replace(HERE, server="web")) is None


def test_of_a_backend_with_thousands_of_servers_only_the_line_of_this_node_is_read():
    states, statistics = SIGHT.split("\n\n# pxname")
    others = "no line of HAProxy's\n" * 4000
    assert server_in(f"{states}\n{others}\n# pxname{statistics}{others}", HERE) == server_in(SIGHT, HERE)
    without = statistics.replace("web,web1,", "web,web2,")
    with pytest.raises(TargetError, match="makes no sense"):
        server_in(f"{states}\n\n# pxname{without}", HERE)


@pytest.mark.parametrize(
    ("server", "presence", "reason"),
    [
        (None, Presence.ABSENT, ""),
        (WELL, Presence.HEALTHY, "L7OK/200 fine"),
        (replace(WELL, state=1), Presence.HEALTHY, "L7OK/200 fine"),
        (replace(WELL, state=0), Presence.UNHEALTHY, "L7OK/200 fine"),
        (replace(WELL, state=3), Presence.UNHEALTHY, "L7OK/200 fine"),
        (replace(WELL, state=7), Presence.UNKNOWN, "HAProxy shows state 7"),
        (replace(WELL, check_status="INI"), Presence.PENDING, "not checked yet"),
        (replace(WELL, checks=Checks(0)), Presence.HEALTHY, "HAProxy does not check it, and takes it for healthy"),
        (
            replace(WELL, checks=Checks.CONFIGURED),
            Presence.HEALTHY,
            "HAProxy does not check it, and takes it for healthy",
        ),
        (
            replace(WELL, admin=MAINT),
            Presence.UNUSED,
            "in maintenance at HAProxy: left alone until it is made ready there",
        ),
        (replace(WELL, admin=Admin(2)), Presence.UNUSED, "it tracks a server that is out"),
        (replace(WELL, admin=Admin(16)), Presence.UNUSED, "it tracks a server that is out"),
        (replace(WELL, admin=Admin(32)), Presence.UNUSED, "in maintenance: HAProxy cannot resolve its name"),
        (replace(WELL, admin=DISABLED), Presence.ABSENT, "disabled in HAProxy's configuration"),
        (replace(WELL, admin=Admin(4)), Presence.HEALTHY, "L7OK/200 fine"),
        (replace(WELL, admin=DRAIN), Presence.DRAINING, "no session left"),
        (replace(WELL, admin=DRAIN, sessions=1), Presence.DRAINING, "1 session left"),
        (replace(WELL, admin=DRAIN, sessions=2), Presence.DRAINING, "2 sessions left"),
        (replace(WELL, admin=DRAIN, agent=CHECKED), Presence.UNHEALTHY, "drained by its agent-check"),
        (replace(WELL, admin=DRAIN, agent=Checks.CONFIGURED), Presence.DRAINING, "no session left"),
        (
            replace(WELL, check_status="L4OK"),
            Presence.HEALTHY,
            "HAProxy only connects to the health port: set `option httpchk` in the backend",
        ),
        (replace(WELL, address="-"), Presence.ABSENT, "web1 is at - port 80 there"),
        (replace(WELL, port=81), Presence.ABSENT, "web1 is at 192.0.2.11 port 81 there"),
        (replace(WELL, check_port=9), Presence.ABSENT, "web1 is checked on port 9 there"),
        (replace(WELL, check_port=0, checks=Checks(0), agent=CHECKED), Presence.HEALTHY, "by its agent-check"),
    ],
)
def test_what_a_server_is_to_this_node(server, presence, reason):
    seen = observation_of(server, HERE)
    assert (seen.presence, seen.reason) == (presence, reason)


def test_a_haproxy_that_took_the_place_of_another_is_noticed():
    def process(number, uptime):
        return process_in(f"{SIGHT}\nName: HAProxy\nPid: {number}\nUptime_sec: {uptime}\nMemmax_MB: 0\n")

    assert not process(7, 9).has_followed(process(7, 9))
    assert not process(7, 10).has_followed(process(7, 9))
    assert process(8, 9).has_followed(process(7, 9))
    assert process(1, 2).has_followed(process(1, 9))
    assert process_in(SIGHT) is None


def test_where_a_static_server_is_only_haproxy_knows():
    assert observation_of(replace(WELL, address="203.0.113.1", port=8080), STATIC).presence is Presence.HEALTHY


def test_the_same_address_may_be_written_in_two_ways():
    place = replace(HERE, address="2001:db8::11")
    assert observation_of(replace(WELL, address="2001:0db8:0::11"), place).presence is Presence.HEALTHY


def test_only_a_drained_server_without_sessions_and_connections_is_to_be_deleted():
    drained = replace(WELL, admin=DRAIN)
    assert observation_of(drained, HERE).former == ("server web/web1",)
    for server, place in ((replace(drained, sessions=1), HERE), (replace(drained, idle=1), HERE), (drained, STATIC)):
        assert observation_of(server, place).former == ()


@pytest.mark.parametrize(
    ("server", "commands"),
    [
        (
            None,
            (
                "add server web/web1 192.0.2.11:80 check port 9010; enable health web/web1;"
                " set server web/web1 state ready"
            ),
        ),
        (WELL, "set server web/web1 state ready"),
        (replace(WELL, admin=DISABLED), "set server web/web1 state ready"),
        (replace(WELL, admin=MAINT), ""),
        (
            replace(WELL, port=81),
            (
                "set server web/web1 addr 192.0.2.11 port 80; set server web/web1 check-port 9010;"
                " set server web/web1 state ready"
            ),
        ),
        (
            replace(WELL, port=81, checks=Checks(0)),
            "set server web/web1 addr 192.0.2.11 port 80; set server web/web1 state ready",
        ),
        (replace(WELL, agent=Checks.CONFIGURED), "enable agent web/web1; set server web/web1 state ready"),
    ],
)
def test_what_registers(server, commands):
    assert "; ".join(to_register(server, HERE)) == commands


def test_an_ipv6_address_has_brackets_beside_a_port_and_an_agent_is_enabled():
    place = replace(HERE, address="2001:db8::11", options="agent-check agent-port 9011")
    assert to_register(None, place)[:3] == [
        "add server web/web1 [2001:db8::11]:80 agent-check agent-port 9011",
        "enable health web/web1",
        "enable agent web/web1",
    ]


@pytest.mark.parametrize(
    ("server", "place", "commands"),
    [
        (None, HERE, ""),
        (
            WELL,
            HERE,
            "set server web/web1 state maint; del server web/web1; set server web/web1 state drain",
        ),
        (replace(WELL, sessions=1), HERE, "set server web/web1 state drain"),
        (WELL, STATIC, "set server web/web1 state drain"),
        (replace(WELL, admin=MAINT), HERE, ""),
        (replace(WELL, admin=DISABLED), STATIC, ""),
        (replace(WELL, agent=CHECKED), STATIC, "disable agent web/web1; set server web/web1 state drain"),
    ],
)
def test_what_deregisters(server, place, commands):
    assert "; ".join(to_deregister(server, place)) == commands


@pytest.mark.parametrize("call", [lambda: observation_of(None, STATIC), lambda: to_register(None, STATIC)])
def test_a_static_server_that_is_missing_is_for_a_person(call):
    with pytest.raises(TargetError, match="web has no server web1: add one to HAProxy's configuration") as error:
        call()
    assert error.value.trouble is Trouble.CONFIG


@pytest.mark.parametrize(
    ("answer", "trouble", "text"),
    [
        ("Permission denied\n\n" + SIGHT, Trouble.AUTH, "needs `level admin`"),
        ("No such backend.\n", Trouble.CONFIG, "HAProxy has no backend web"),
        ("Can't find backend.\n\n", Trouble.CONFIG, "HAProxy has no backend web"),
        ("\n", Trouble.RETRY, "HAProxy has not answered"),
        ("out of memory\n" + SIGHT, Trouble.RETRY, "it says: out of memory"),
        ("x" * 1000, Trouble.RETRY, "xxx…"),
    ],
)
def test_a_refusal_is_judged_by_its_words_which_are_shown_but_not_all(answer, trouble, text):
    error = refusal(answer, HERE)
    assert error.trouble is trouble
    assert text in error.text
    assert len(error.text) < 300


@pytest.mark.parametrize(
    ("server", "asked", "fine"),
    [
        (None, why_not_registered, False),
        (replace(WELL, admin=DISABLED), why_not_registered, False),
        (replace(WELL, admin=DRAIN), why_not_registered, False),
        (replace(WELL, address="192.0.2.12"), why_not_registered, False),
        (WELL, why_not_registered, True),
        (WELL, why_not_deregistered, False),
        (replace(WELL, admin=DRAIN), why_not_deregistered, True),
        (None, why_not_deregistered, True),
    ],
)
def test_the_look_after_a_change_judges_it(server, asked, fine):
    assert (asked(server, "", HERE) is None) is fine


def test_a_state_that_no_haproxy_has_is_unknown():
    seen = observation_of(replace(WELL, state=7), HERE)
    assert (seen.presence, seen.reason) == (Presence.UNKNOWN, "HAProxy shows state 7")


def test_a_server_is_named_by_its_backend_in_what_is_asked():
    assert HERE.look == "show servers state web; show stat web 4 -1; show info"


def test_an_answer_of_something_else_is_an_error_with_its_words():
    with pytest.raises(TargetError, match="no backend web"):
        server_in("Can't find backend.", HERE)


def test_a_server_that_was_moved_is_checked_where_it_is_now_and_its_agent_is_asked():
    moved = replace(WELL, address="192.0.2.12", agent=Checks.CONFIGURED)
    assert to_register(moved, HERE) == [
        "set server web/web1 addr 192.0.2.11 port 80",
        "set server web/web1 check-port 9010",
        "enable agent web/web1",
        "set server web/web1 state ready",
    ]
