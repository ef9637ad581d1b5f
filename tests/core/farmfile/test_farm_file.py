"""A farm file is read into settings: defaults, presets, relations between tables."""

import pytest
from farm_texts import AWS, TWO_NODES, WITH_SHARE, farm_of, problems_of

from hcsidecar.core.farmfile.farm_file import (
    PRESETS,
    AwsTarget,
    FarmFile,
    HostPort,
    HttpCheck,
    StatusRange,
    TcpCheck,
    read,
)
from hcsidecar.core.farmfile.target_tables import ReadTarget


def test_a_farm_of_names_and_addresses_has_a_default_for_all_else():
    farm = farm_of(TWO_NODES)
    assert [(node.name, node.address, node.power) for node in farm.node] == [
        ("web1", "192.0.2.11", 1),
        ("web2", "192.0.2.12", 1),
    ]
    assert (farm.farm.key_file, farm.farm.state_dir, farm.farm.partition, farm.farm.keep_ready) == (
        "farm.key",
        None,
        "serve",
        1,
    )
    assert (farm.heartbeat.port, farm.heartbeat.pulse, farm.heartbeat.lost_after) == (4803, 0.05, 0.5)
    assert farm.web.listen == (HostPort("0.0.0.0", 9010),)
    assert (farm.health.path, farm.health.lame_duck, farm.health.prober_fall) == ("/health", 10.0, 3)
    assert farm.l2 is None
    assert farm.check == ()


@pytest.mark.parametrize(("preset", "pulse", "lost_after"), [("lan", 0.05, 0.5), ("fast", 0.02, 0.2), ("wan", 1, 10)])
def test_a_preset_sets_pulse_and_lost_after(preset, pulse, lost_after):
    farm = farm_of(f'{TWO_NODES}[heartbeat]\npreset = "{preset}"')
    assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (pulse, lost_after)
    assert PRESETS[preset].reason


def test_pulse_and_lost_after_go_over_the_preset():
    farm = farm_of(f'{TWO_NODES}[heartbeat]\npreset = "wan"\nlost_after = "20s"')
    assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (1.0, 20.0)


def test_a_node_may_have_an_address_on_each_of_several_networks_the_first_being_the_main_one():
    farm = farm_of("""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        addresses = { front = "2001:DB8:0::11", back = "198.51.100.11" }
    """)
    assert dict(farm.node[0].addresses) == {"front": "2001:db8::11", "back": "198.51.100.11"}
    assert farm.node[0].address == "2001:db8::11"


def test_checks_are_told_apart_by_their_type():
    farm = farm_of(f"""
        {TWO_NODES}
        [[check]]
        type = "tcp"
        name = "port"
        address = "127.0.0.1"
        port = 80
        [[check]]
        type = "http"
        name = "page"
        address = "127.0.0.1"
        port = 80
        interval = "500ms"
        status = [200, "300-399"]
        body = "Welcome"
    """)
    port, page = farm.check
    assert isinstance(port, TcpCheck)
    assert (port.interval, port.timeout, port.rise, port.fall) == (10.0, 5.0, 1, 1)
    assert isinstance(page, HttpCheck)
    assert page.interval == 0.5
    assert page.status == (StatusRange(200, 200), StatusRange(300, 399))
    assert [status for status in (199, 200, 201, 300, 399, 400) if page.accepts(status)] == [200, 300, 399]


def test_what_a_node_is_to_aws_follows_from_the_table_the_node_and_its_address():
    farm = farm_of(f"""{TWO_NODES}
    {AWS}
    availability_zone = "all"
    nodes = {{ web2 = {{ id = "198.51.100.2", availability_zone = "eu-west-1b" }} }}
    """)
    (target,) = farm.target
    assert isinstance(target, AwsTarget)
    assert [target.id_of("web1", "192.0.2.11"), target.zone_of("web1")] == ["192.0.2.11", "all"]
    assert [target.id_of("web2", "192.0.2.12"), target.zone_of("web2")] == ["198.51.100.2", "eu-west-1b"]
    assert [target.label, target.api_region, target.deregisters_first] == ["web", "eu-west-1", False]


def test_an_instance_is_asked_for_its_id_unless_the_file_has_it():
    farm = farm_of(f'{TWO_NODES}\n{AWS}\ntarget = "instance"\nbalancer = "nlb"\nname = "shop"')
    (target,) = farm.target
    assert isinstance(target, AwsTarget)
    assert target.id_of("web1", "192.0.2.11") == "metadata"
    assert [target.label, target.deregisters_first] == ["shop", True]


def test_an_interface_may_have_to_have_the_address_of_a_link():
    (check,) = farm_of(f'{TWO_NODES}[[check]]\ntype = "interface"\nname = "x"\naddress = "FE80::1"').check
    assert check.subject == "fe80::1"


def test_a_target_of_a_kind_that_is_not_ours_keeps_what_its_package_will_read():
    (target,) = farm_of(f'{TWO_NODES}\n[[target]]\ntype = "consul"\nservice = "web"').target
    assert [target.type, target.label, target.model_extra] == ["consul", "consul", {"service": "web"}]


def test_a_state_directory_is_the_same_wherever_it_is_named():
    problems = problems_of(TWO_NODES.replace("[farm]", '[farm]\nstate_dir = "state"'))
    assert "is not an absolute path" in problems["farm.state_dir"].message


@pytest.mark.parametrize(("count", "refused"), [(1, False), (64, False), (65, True)])
def test_a_farm_has_1_to_64_nodes(count, refused):
    text = '[farm]\nname = "apache"\n' + "".join(
        f'[[node]]\nname = "web{n}"\naddress = "192.0.2.{n}"\n' for n in range(1, count + 1)
    )
    if refused:
        assert problems_of(text)["node"].hint == "at most 64"
    else:
        assert len(farm_of(text).node) == count


@pytest.mark.parametrize(("keep", "refused"), [(0, False), (2, False), (3, True)])
def test_a_farm_keeps_no_more_nodes_ready_than_it_has(keep, refused):
    text = TWO_NODES.replace("[farm]", f"[farm]\nkeep_ready = {keep}")
    if refused:
        assert set(problems_of(text)) == {"farm.keep_ready"}
    else:
        assert farm_of(text).farm.keep_ready == keep


def test_the_first_network_is_the_same_for_all_and_so_is_the_family_of_each():
    problems = problems_of("""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        addresses = { a = "192.0.2.11", b = "198.51.100.11" }
        [[node]]
        name = "web2"
        addresses = { a = "192.0.2.12", b = "198.51.100.12" }
        [[node]]
        name = "web3"
        addresses = { b = "198.51.100.13", a = "192.0.2.13" }
        [[node]]
        name = "web4"
        addresses = { a = "192.0.2.14", b = "2001:db8::14" }
    """)
    assert set(problems) == {"node[3].addresses", "node[4].addresses.b"}


def test_a_farm_file_built_in_python_holds_the_relations_too():
    with pytest.raises(ValueError, match="is given twice"):
        FarmFile.model_validate(
            {
                "farm": {"name": "apache"},
                "node": [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.1"}],
            }
        )


def test_a_farm_that_is_written_down_and_read_again_is_the_same():
    farm = farm_of(f"""
        {WITH_SHARE}
        [[check]]
        type = "http"
        name = "page"
        address = "127.0.0.1"
        port = 80
    """)
    assert read(farm.model_dump(mode="json", exclude_none=True)) == farm


def test_a_node_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match="web1, web2"):
        farm_of(TWO_NODES).node_named("web3")


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (WITH_SHARE, True),
        (WITH_SHARE.replace('"apache"', '"other"'), True),
        (f'{WITH_SHARE}\n[health]\npath = "/up"', True),
        (f"{WITH_SHARE}\npower = {{ web1 = 3 }}", True),
        (WITH_SHARE.replace("[80, 443]", "[443, 80]"), True),
        (WITH_SHARE.replace("192.0.2.50", "192.0.2.51"), False),
        (WITH_SHARE.replace("[80, 443]", "[80]"), False),
        (f'{WITH_SHARE}\nby = "port"', False),
        (WITH_SHARE.replace("[l2]", '[l2]\ndelivery = "flooded"'), False),
        (WITH_SHARE.replace("[l2]", '[l2]\nfilter = "tc"'), True),
        (f'{WITH_SHARE}\nvip = "192.0.2.50"', False),
        (f'{WITH_SHARE}\n[heartbeat]\nlost_after = "1s"', True),
        (f'{WITH_SHARE}\n[heartbeat]\npulse = "20ms"', True),
        (TWO_NODES, False),
    ],
)
def test_the_digest_is_of_what_must_be_equal_to_share_buckets_and_of_nothing_else(changed, same):
    assert len(farm_of(changed).settings_digest()) == 16
    assert (farm_of(changed).settings_digest() == farm_of(WITH_SHARE).settings_digest()) is same


@pytest.mark.parametrize(
    ("web", "node", "found"),
    [
        ('["0.0.0.0:9010"]', "", "192.0.2.11:9010"),
        ('["0.0.0.0:9010"]', 'listen = ["192.0.2.11:9011"]', "192.0.2.11:9011"),
        ('["127.0.0.1:9010", "0.0.0.0:9012"]', "", "192.0.2.11:9012"),
        ('["[::]:9010", "0.0.0.0:9013"]', "", "192.0.2.11:9013"),
        ('["10.0.0.1:9010"]', "", "10.0.0.1:9010"),
    ],
)
def test_the_api_is_reached_at_the_main_address_where_somebody_listens_there(web, node, found):
    farm = farm_of(f"""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        address = "192.0.2.11"
        {node}
        [web]
        listen = {web}
    """)
    assert str(farm.api_address(farm.node[0])) == found


@pytest.mark.parametrize(
    ("table", "subject"),
    [
        ('type = "tcp"\naddress = "2001:db8::1"\nport = 80', "[2001:db8::1]:80"),
        ('type = "ping"\naddress = "192.0.2.1"', "192.0.2.1"),
        ('type = "command"\ncommand = ["bin/look", "-q"]', "bin/look -q"),
        ('type = "custom"\ncommand = ["bin/watch"]', "bin/watch"),
    ],
)
def test_a_check_says_what_it_looks_at(table, subject):
    (check,) = farm_of(f'{TWO_NODES}\n[[check]]\nname = "x"\n{table}').check
    assert check.subject == subject


@pytest.mark.parametrize(
    ("application", "more", "action"),
    [
        ("", "", "none"),
        ('[application]\nstart = "a"\nstop = "b"', "", "restart"),
        ('[application]\nstart = "a"\nstop = "b"', 'action = "stop"', "stop"),
        ('[application]\nstart = "a"\nstop = "b"', 'when = "pre"', "wait"),
    ],
)
def test_what_a_failure_leads_to_follows_from_the_check_and_whether_there_is_an_application(application, more, action):
    check = f'[[check]]\ntype = "tcp"\nname = "x"\naddress = "127.0.0.1"\nport = 80\n{more}'
    farm = farm_of(f"{TWO_NODES}\n{application}\n{check}")
    assert farm.action_of(farm.check[0]) == action


def test_each_kind_of_target_has_its_name_and_its_limits_there():
    kinds = (
        'type = "haproxy"\nbackend = "web"\naddress = "127.0.0.1:9999"\nport = 80\npoll = "7s"',
        ('type = "command"\ncommand = ["bin/register"]\ntimeout = "3s"'),
        'type = "consul"',
    )
    tables = "\n".join(f"[[target]]\n{kind}" for kind in kinds)
    haproxy, command, other = farm_of(f"{TWO_NODES}\n{tables}").target
    assert [(one.own_name, one.call_limit, one.longest_pause) for one in (haproxy, command, other)] == [
        ("web", 6.0, 7.0),
        ("command", 3.0, 60.0),
        ("consul", 6.0, 60.0),
    ]
    assert not any(one.deregisters_first for one in (haproxy, command, other))
    read = ReadTarget(type="consul", first=True, limit=1.5, pause=9.0)
    assert (read.deregisters_first, read.call_limit, read.longest_pause) == (True, 1.5, 9.0)


def test_a_receiver_of_notifications_has_the_name_of_its_type_and_names_its_files():
    farm = farm_of(
        TWO_NODES
        + (
            '[[notify]]\ntype = "webhook"\nurl_file = "chat.url"\ntoken_file = "chat.token"\n'
            '[[notify]]\ntype = "mail"\nname = "night"\nserver = "[2001:db8::25]:465"\ntls = "tls"\n'
            'ca_file = "ca.crt"\n'
            'login_file = "mail.login"\nsender = "farm@example.com"\nto = ["a@example.com", "b@example.com"]\n'
            '[[notify]]\ntype = "webhook"\nname = "here"\nurl = "http://127.0.0.1:8080/x"\ntoken_file = "t"\n'
            '[[notify]]\ntype = "mail"\nname = "local"\nserver = "localhost:25"\ntls = "none"\nsender = "a@b.example"\n'
            'to = ["a@b.example"]\n'
        )
    )
    assert [each.label for each in farm.notify] == ["webhook", "night", "here", "local"]
    assert farm.notify[0].files == {"url_file": "chat.url", "token_file": "chat.token"}
    assert farm.notify[1].files == {"ca_file": "ca.crt", "login_file": "mail.login"}
