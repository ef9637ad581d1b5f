"""The bodies of the API's requests, as they go over the wire."""

import msgspec
import pytest

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.remarks import RemarkLevel
from hcsidecar.core.request_bodies import (
    ActionBody,
    Body,
    IdentityBody,
    LogBody,
    NotificationsBody,
    PowerBody,
    ReportBody,
)


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (Body(), b"{}"),
        (ActionBody(), b'{"force":false}'),
        (ActionBody(force=True, by="root"), b'{"by":"root","force":true}'),
        (PowerBody(power=None), b'{"power":null,"share":null}'),
        (PowerBody(power=3, share="http", by=""), b'{"by":"","power":3,"share":"http"}'),
        (LogBody(level=RemarkLevel.INFO, text="a"), b'{"level":"info","text":"a","origin":"operator"}'),
        (ReportBody(value="up"), b'{"value":"up"}'),
        (NotificationsBody(receiver="chat"), b'{"receiver":"chat","held":[],"done":[]}'),
        (IdentityBody(identity="disk"), b'{"identity":"disk"}'),
    ],
)
def test_both_ends_agree_on_every_body(body, wire):
    assert msgspec.json.encode(body) == wire
    assert read_json(wire, type(body)) == body


@pytest.mark.parametrize("kind", [Body, ActionBody, PowerBody, LogBody, ReportBody, IdentityBody, NotificationsBody])
def test_a_key_that_nobody_knows_is_refused(kind):
    known = {"power": 1, "level": "info", "text": "a", "value": "up", "identity": "disk", "receiver": "chat"}
    body = {key: known[key] for key in kind.__struct_fields__ if key in known}
    read_json(msgspec.json.encode(body), kind)
    with pytest.raises(JsonError, match="Object contains unknown field `mood`"):
        read_json(msgspec.json.encode({**body, "mood": "good"}), kind)


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        (ActionBody, b'{"force":1}', r"Expected `bool`, got `int` - at `\$.force`"),
        (PowerBody, b"{}", "Object missing required field `power`"),
        (PowerBody, b'{"power":-1}', r"Expected `int` >= 0 - at `\$.power`"),
        (LogBody, b'{"level":"debug","text":"a"}', r"Invalid enum value 'debug' - at `\$.level`"),
        (LogBody, b'{"level":"info","text":""}', r"Expected `str` of length >= 1 - at `\$.text`"),
        (ReportBody, b'{"value":"init"}', r"Invalid enum value 'init' - at `\$.value`"),
        (NotificationsBody, b'{"receiver":"chat","held":[{}]}', r"missing required field `origin` - at `\$.held\[0\]`"),
        (
            NotificationsBody,
            b'{"receiver":"chat","done":[["a",-1,2]]}',
            r"Expected `int` >= 0 - at `\$.done\[0\]\[1\]`",
        ),
        (IdentityBody, b'{"identity":"a","by":null}', r"Expected `str`, got `null` - at `\$.by`"),
    ],
)
def test_what_is_wrong_in_a_body_is_said_with_its_place(kind, body, why):
    with pytest.raises(JsonError, match=why):
        read_json(body, kind)
