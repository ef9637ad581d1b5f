"""What `hcsidecar join --json` prints."""

import json

import msgspec

from hcsidecar.core.joining.documents import JoinReport


def test_the_object_has_all_its_keys_also_for_a_server_that_was_refused_at_once():
    told = json.loads(msgspec.json.encode(JoinReport(node="web4", problems=("the token is late",))))
    assert told == {
        "joined": False,
        "node": "web4",
        "farm": "",
        "issuer": "",
        "addresses": {},
        "config": "",
        "plan": [],
        "problems": ["the token is late"],
        "written": [],
        "set_aside": {},
    }
