"""The farm file as a form."""

import hashlib
import tomllib

import pytest

from hcsidecar.core.console.farm_form import ADDABLE, FarmForm, NotEditedError, fields_of, with_form

FARM = b"""# Our farm.
[farm]
name = "apache"   # as in SafeKit

[[node]]
name = "web1"
address = "192.0.2.11"

# The strong one.
[[node]]
name = "web2"
address = "192.0.2.12"
power = 4  # four times

[application]
start = "bin/start"
stop = "bin/stop"

[[check]]
type = "http"
name = "HTTP"
address = "127.0.0.1"
port = 80
body = "Welcome"

# Not ours.
[[check]]
type = "command"
name = "OWN"
command = ["bin/check"]

[health]
lame_duck = "20s"
"""
L2 = b"""[l2]
interface = "eth0"
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80, 443]
"""


def form(content=FARM, **more):
    pairs = more.pop("typed", {})
    return FarmForm(key=tuple(pairs), value=tuple(pairs.values()), digest=hashlib.sha256(content).hexdigest(), **more)


def changed(content=FARM, **more):
    return with_form(content, form(content, **more))


def test_the_form_shows_what_stands_in_the_file_and_the_defaults():
    fields = fields_of(FARM + L2)
    assert [(node.title, node.fields[0].value, node.fields[0].default) for node in fields.nodes] == [
        ("web1", "", "1"),
        ("web2", "4", "1"),
    ]
    assert [(field.path, field.value, field.default) for field in fields.limits] == [
        ("farm.keep_ready", "", "1"),
        ("health.lame_duck", "20s", "10s"),
        ("application.drain", "", ""),
        ("application.start_timeout", "", "1m"),
        ("application.stop_timeout", "", "5m"),
        ("application.max_restarts", "", "3"),
        ("application.restart_window", "", "1d"),
    ]
    assert [field.value for field in fields.layer_two] == ["eth0"]
    assert [vip.fields[0].path for vip in fields.vips] == ["l2.vip[1].address"]
    (share,) = fields.shares
    assert [(field.key, field.value, field.default, field.choices) for field in share.fields] == [
        ("name", "WEB", "", ()),
        ("protocol", "", "tcp", ("tcp", "udp")),
        ("ports", "80, 443", "", ()),
        ("by", "", "address", ("address", "port", "datagram")),
    ]
    http, command = fields.checks
    assert [field.key for field in http.fields] == [
        *["name", "address", "port", "path", "interval", "timeout", "fall", "action"]
    ]
    assert {field.key: field.default for field in http.fields}["path"] == "/"
    assert [field.key for field in command.fields] == ["name", "interval", "timeout", "fall", "action"]


def test_a_small_farm_has_a_small_form():
    fields = fields_of(b'[farm]\nname = "a"\nnode = 3\nl2 = 1\n')
    assert [field.path for field in fields.limits] == ["farm.keep_ready", "health.lame_duck"]
    assert not fields.nodes
    assert not fields.vips


def test_what_is_not_changed_stays_byte_for_byte():
    shown = {
        field.path: field.value
        for table in (*fields_of(FARM + L2).checks, *fields_of(FARM + L2).shares, *fields_of(FARM + L2).nodes)
        for field in table.fields
    }
    assert changed(FARM + L2, typed=shown).encode() == FARM + L2


def test_what_is_typed_goes_into_its_key_and_all_comments_stay():
    text = changed(
        typed={
            "node[1].power": "2",
            "node[2].power": "",
            "check[1].port": " 8080 ",
            "check[1].fall": "often",
            "check[2].interval": "1s",
            "health.lame_duck": "",
            "farm.keep_ready": "2",
            "application.drain": "5s",
        }
    )
    found = tomllib.loads(text)
    assert [node.get("power") for node in found["node"]] == [2, None]
    assert (found["check"][0]["port"], found["check"][0]["fall"], found["check"][0]["body"]) == (
        8080,
        "often",
        "Welcome",
    )
    assert (found["check"][1]["interval"], found["check"][1]["command"]) == ("1s", ["bin/check"])
    assert (found["health"], found["farm"]["keep_ready"], found["application"]["drain"]) == ({}, 2, "5s")
    for comment in ("# Our farm.", "# as in SafeKit", "# The strong one.", "# Not ours."):
        assert comment in text


def test_a_table_is_made_for_a_key_only_when_it_is_needed():
    farm = b'[farm]\nname = "a"\n'
    assert changed(farm, typed={"health.lame_duck": ""}).encode() == farm
    assert tomllib.loads(changed(farm, typed={"health.lame_duck": "5s"}))["health"] == {"lame_duck": "5s"}


def test_ports_are_numbers_where_they_can_be():
    found = tomllib.loads(changed(FARM + L2, typed={"l2.share[1].ports": "80,x, ,8443", "l2.share[1].by": "port"}))
    assert found["l2"]["share"] == [{"name": "WEB", "ports": [80, "x", 8443], "by": "port"}]


def test_checks_shares_and_virtual_ips_are_removed_and_the_others_keep_what_is_theirs():
    found = tomllib.loads(changed(removed=("check[1]",)))
    assert [check["name"] for check in found["check"]] == ["OWN"]
    assert "check" not in tomllib.loads(changed(removed=("check[1]", "check[2]")))
    assert "l2" not in tomllib.loads(changed(FARM + L2, removed=("l2.vip[1]",)))
    assert "l2" not in tomllib.loads(changed(FARM + L2, removed=("l2.share[1]",)))


@pytest.mark.parametrize("add", ADDABLE)
def test_each_kind_is_added_with_values_to_change(add):
    before, found = tomllib.loads((FARM + L2).decode()), tomllib.loads(changed(FARM + L2, add=add))
    if add == "share":
        assert found["l2"]["share"][1:] == [{"name": "share-2", "ports": [80]}]
    else:
        assert found["check"][:2] == before["check"]
        assert found["check"][2]["type"] == add.partition(" ")[2]


def test_a_first_virtual_ip_comes_with_a_share_of_the_farms_name():
    found = tomllib.loads(changed(new_vip=" 192.0.2.50 "))
    assert found["l2"] == {"vip": [{"address": "192.0.2.50"}], "share": [{"name": "apache", "ports": [80]}]}
    found = tomllib.loads(changed(FARM + L2, new_vip="192.0.2.51"))
    assert [vip["address"] for vip in found["l2"]["vip"]] == ["192.0.2.50", "192.0.2.51"]
    assert len(found["l2"]["share"]) == 1


def test_a_first_check_is_added():
    assert len(tomllib.loads(changed(b'[farm]\nname = "a"\n', add="check tcp"))["check"]) == 1


@pytest.mark.parametrize(
    ("content", "more", "why"),
    [
        (b"[farm", {}, "mend it in the editor"),
        (FARM, {"typed": {"farm.name": "x"}}, "no field 'farm.name'"),
        (FARM, {"typed": {"check[1].command": "x"}}, "no field"),
        (FARM, {"typed": {"node[7].power": "1"}}, "change it in the editor"),
        (FARM, {"typed": {"l2.vip[1].address": ""}}, "change it in the editor"),
        (FARM, {"removed": ("node[1]",)}, "cannot remove 'node"),
        (FARM, {"removed": ("check[9]",)}, "change it in the editor"),
        (FARM, {"add": "node"}, "can add one of"),
        (b"check = 1\n[farm]\n", {"add": "check tcp"}, "change it in the editor"),
    ],
)
def test_what_the_form_cannot_do_is_refused_with_what_to_do(content, more, why):
    with pytest.raises(NotEditedError, match=why.replace("[", r"\[")):
        changed(content, **more)


def test_a_form_that_is_not_right_is_refused():
    wrong = FarmForm(key=("node[1].power",), value=(), digest="0" * 64)
    with pytest.raises(NotEditedError, match="not as many values"):
        with_form(FARM, wrong)
