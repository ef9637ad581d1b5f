"""`hcsidecar notify-test` against real web servers on this machine."""

import json

import pytest
from cli_farm import CliFarm, app
from receivers import web_server
from typer.testing import CliRunner


def notify_test(tmp_path, tables, *arguments):
    farm = CliFarm(tmp_path, extra="")
    farm.config.write_text(farm.config.read_text() + tables)
    return CliRunner().invoke(app, ["notify-test", "--config", str(farm.config), *arguments])


def webhook(url, name):
    return f'[[notify]]\ntype = "webhook"\nname = "{name}"\nurl = "{url}"\n'


def test_each_receiver_gets_a_message_and_what_happened_is_told(tmp_path):
    with web_server(200) as (fine, posts), web_server(500) as (broken, _):
        result = notify_test(tmp_path, webhook(fine, "day") + webhook(broken, "night"))
    assert result.exit_code == 1
    assert result.stdout.startswith("day (webhook): the message was taken after ")
    assert result.stderr == "night (webhook): not sent: answers 500 Internal Server Error\n"
    assert posts[0]["subject"] == "farm apache: web1 sends a test message: hcsidecar notify-test"


def test_one_receiver_can_be_chosen_and_the_answer_be_json(tmp_path):
    with web_server(204) as (fine, _), web_server(500) as (broken, posts):
        result = notify_test(tmp_path, webhook(fine, "day") + webhook(broken, "night"), "day", "--json")
    assert (result.exit_code, posts) == (0, [])
    document = json.loads(result.stdout)
    assert document | {"seconds": 0} == {
        "receiver": "day",
        "type": "webhook",
        "ok": True,
        "text": "the message was taken",
        "seconds": 0,
    }


@pytest.mark.parametrize(
    ("tables", "arguments", "said"),
    [
        ("", [], "this farm file has no [[notify]]"),
        (webhook("http://192.0.2.1/", "day"), ["nigth"], "no receiver 'nigth'; there are day"),
        (webhook("192.0.2.1", "day"), [], "notify[1].url: is not a URL"),
        (webhook("http://192.0.2.1/", "day"), ["--node", "web7"], "has none of the name web7"),
    ],
    ids=["none", "another", "wrong file", "no such node"],
)
def test_what_cannot_be_tested_is_told_with_exit_status_2(tmp_path, tables, arguments, said):
    result = notify_test(tmp_path, tables, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
