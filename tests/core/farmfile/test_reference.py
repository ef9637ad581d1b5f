import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hcsidecar.core.farmfile.check_tables import CHECKS
from hcsidecar.core.farmfile.farm_file import (
    ApplicationTable,
    FarmFile,
    FarmTable,
    HealthTable,
    HeartbeatTable,
    L2Table,
    LogTable,
    NodeTable,
    ShareTable,
    TlsTable,
    VipTable,
    WebTable,
    read,
)
from hcsidecar.core.farmfile.reference import farm_file, file_keys, file_schema, reference
from hcsidecar.core.settings.key_effects import effect_mark

CONFIG = Path(__file__).parents[3] / "config"
REFERENCE = (CONFIG / "farm.toml").read_text()


def uncommented(text: str) -> dict[str, Any]:
    """Read a reference with every "#key = value" and every "#[table]" put in force."""
    return tomllib.loads(re.sub(r"^#(?=\[|\w+ = )", "", text, flags=re.MULTILINE))


WHOLE = uncommented(REFERENCE)
PAIRS = {
    "file": (WHOLE, FarmFile),
    "farm": (WHOLE["farm"], FarmTable),
    # `address` is the short form of `addresses`, and the model has the long one.
    "node": ({key: value for key, value in WHOLE["node"][0].items() if key != "address"}, NodeTable),
    "heartbeat": (WHOLE["heartbeat"], HeartbeatTable),
    "web": (WHOLE["web"], WebTable),
    "web.tls": (WHOLE["web"]["tls"], TlsTable),
    "health": (WHOLE["health"], HealthTable),
    "health.tls": (WHOLE["health"]["tls"], TlsTable),
    "log": (WHOLE["log"], LogTable),
    "l2": (WHOLE["l2"], L2Table),
    "l2.vip": (WHOLE["l2"]["vip"][0], VipTable),
    "l2.share": (WHOLE["l2"]["share"][0], ShareTable),
    "application": (WHOLE["application"], ApplicationTable),
} | {f"{kind} check": (table, CHECKS[kind]) for kind, table in ((each["type"], each) for each in WHOLE["check"])}


@pytest.mark.parametrize("name", PAIRS)
def test_the_reference_has_every_key_of_the_models_and_no_other(name):
    table, model = PAIRS[name]
    assert set(table) == set(model.model_fields)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "file"])
def test_the_reference_states_the_default_wherever_there_is_one(name):
    table, model = PAIRS[name]
    parsed = model.model_validate(table)
    defaults = {
        key: field.default
        for key, field in model.model_fields.items()
        if not field.is_required() and field.default not in (None, (), {})
    }
    assert {key: getattr(parsed, key) for key in defaults} == defaults
    for key, field in model.model_fields.items():
        if field.default in (None, (), {}) and not isinstance(table[key], dict):
            assert re.search(rf"^#{key} = .*  # example$", REFERENCE, flags=re.MULTILINE), key


def test_the_reference_is_written_from_the_models():
    assert reference(effect_mark) == REFERENCE, "write it anew: reference(effect_mark)"


def test_the_reference_says_what_a_change_of_a_key_takes_where_it_disturbs_something():
    assert "# UDP port of the heartbeats, the same on every node. [refused]\n#port = 4803" in REFERENCE
    assert "# The shares: traffic that the nodes divide among themselves. [moves clients]\n#[[l2.share]]" in REFERENCE
    assert "and still serves, before it stops.\n#lame_duck" in REFERENCE


def test_every_key_of_the_file_has_a_path_and_so_has_every_table_that_may_be_left_out():
    keys = file_keys()
    assert len(keys) == len(set(keys)) > 100
    assert {"farm.name", "node", "web.tls", "web.tls.cert", "l2.share", "l2.share.power", "check.body"} <= set(keys)
    assert {"farm", "heartbeat", "web", "health", "log"}.isdisjoint(keys)


def test_every_key_of_the_reference_has_a_sentence():
    for before, line in pairwise(REFERENCE.splitlines()):
        if re.match(r"#?\w+ = ", line):
            assert re.match(r"# .*\w", before), line


def test_the_reference_is_a_farm_file():
    farm = read(tomllib.loads(REFERENCE))
    assert farm == read({"farm": {"name": "apache"}, "node": [{"name": "web1", "address": "192.0.2.11"}]})


def test_the_reference_with_everything_in_force_is_a_farm_file_but_for_the_two_ways_to_give_an_address():
    document = uncommented(REFERENCE)
    del document["node"][0]["addresses"]
    del document["target"][1]["socket"]
    del document["notify"][0]["url_file"]
    for number, receiver in enumerate(document["notify"]):
        receiver["name"] += str(number)
    for number, target in enumerate(document["target"]):
        target["name"] += str(number)
    for number, check in enumerate(document["check"]):
        check["name"] += str(number)
        if check["when"] == "pre":
            check["action"] = "wait"
    assert isinstance(read(document), FarmFile)


@pytest.mark.parametrize(
    "example", sorted((CONFIG / "examples").rglob("*.toml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_an_example_is_a_farm_file(example):
    assert isinstance(read(tomllib.loads(example.read_text())), FarmFile)


def test_a_new_farm_file_has_all_other_tables_as_comments():
    tables = {
        "farm": [{"name": "shop"}],
        "node": [{"name": f"web{n}", "address": f"192.0.2.{n}"} for n in (1, 2)],
        "web": [{"listen": ["0.0.0.0:80"]}],
    }
    text = farm_file(tables, mark=effect_mark)
    assert tomllib.loads(text) == {"farm": tables["farm"][0], "node": tables["node"], "web": tables["web"][0]}
    assert uncommented(text).keys() == FarmFile.model_fields.keys()


def test_the_schema_describes_every_key_and_writes_defaults_as_the_file_does():
    schema = file_schema()
    assert schema["$defs"]["HeartbeatTable"]["properties"]["pulse"]["default"] == "50ms"
    assert schema["$defs"]["WebTable"]["properties"]["listen"]["default"] == ["0.0.0.0:9010"]
    assert schema["$defs"]["HttpCheck"]["properties"]["status"]["default"] == ["200-399"]
    assert schema["$defs"]["NodeTable"]["required"] == ["name"]
    assert set(schema["$defs"]["NodeTable"]["properties"]) == {"name", "address", "addresses", "power", "listen"}
    for name, definition in schema["$defs"].items():
        assert all("description" in rule or "$ref" in rule for rule in definition["properties"].values())
        assert definition["additionalProperties"] is (name == "OtherTarget")
