"""What goes into a support snapshot: secrets are hidden, parts are cut, and the events of all nodes are merged."""

import re
import zlib
from base64 import b64encode
from hashlib import sha256
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level
from hcsidecar.core.snapshot_contents import (
    LARGEST,
    LARGEST_NODE,
    NodeParts,
    PackedError,
    Part,
    contents,
    cut,
    fitted,
    index,
    lacking,
    limited,
    members,
    pack,
    room_for_each,
    unpack,
)
from hcsidecar.core.snapshot_secrets import (
    HIDDEN,
    Scrubber,
    files_of_secrets,
    secrets_in_environment,
    secrets_in_farm_file,
    secrets_in_key_file,
    secrets_in_private_file,
)
from hcsidecar.core.snapshot_timeline import (
    LONGEST_LINE,
    as_lines,
    as_text,
    merged,
    node_of_member,
    read_events,
)

KEY = "3fa1c2d4" * 8
PASSWORD = 'gr8 "pass"/word'  # noqa: S105 - planted


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.upper(),
        b64encode(bytes.fromhex(KEY)).decode(),
        b64encode(KEY.encode()).decode(),
        ":".join(KEY[at : at + 2] for at in range(0, 64, 2)),
        KEY[:40],
        KEY[20:],
        f"key={KEY[3:50]},",
    ],
)
def test_a_key_is_hidden_however_it_is_written_and_cut(written):
    said = Scrubber([KEY]).text(f"a script says {written} and goes on")

    assert written not in said
    assert HIDDEN in said
    assert said.startswith("a script says ")
    assert said.endswith(" and goes on")


@pytest.mark.parametrize(
    "written",
    [PASSWORD, quote(PASSWORD, safe=""), b64encode(PASSWORD.encode()).decode(), PASSWORD.replace('"', '\\"')],
)
def test_a_password_is_hidden_in_texts_and_documents(written):
    scrubber = Scrubber([PASSWORD])

    assert written not in scrubber.text(f"login with {written}.")
    assert scrubber.document({"a": [f"x {written}", 1, None, {written: True}]}) == {
        "a": [f"x {HIDDEN}", 1, None, {HIDDEN: True}]
    }


@pytest.mark.parametrize("text", [PASSWORD[5:] + "\nmore", "more " + PASSWORD[:-3], f"more {PASSWORD[:9]}… and on"])
def test_what_is_left_of_a_password_where_a_text_was_cut_is_hidden(text):
    assert Scrubber([PASSWORD]).text(text).replace(HIDDEN, "").strip(" …\n") in ("more", "more … and on")


def test_a_text_that_begins_and_ends_with_the_middle_of_a_password_stays():
    assert Scrubber([PASSWORD, "another password"]).text(PASSWORD[3:12]) == PASSWORD[3:12]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\n", "MIIabc"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n", "MIIabc"),
        ("GET http://user:hunter2@front/stats", "hunter2"),
        ("url https://user:p@ss@front", "p@ss"),
        ("admin:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "c2FsdA"),
        ("DB_PASSWORD=hunter2", "hunter2"),
        ('{"api_key": "hunter2"}', "hunter2"),
        ("Authorization: Basic dXNlcjpwdw==", "dXNlcjpwdw"),
        ("curl -H 'X: Bearer abcdefghijk'", "abcdefghijk"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ('token = "two words"', "two words"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_knows_it(text, secret):
    assert secret not in Scrubber([]).text(text)


def test_ordinary_events_stay_as_they_are():
    said = "web2 is dead: silent for 0.5 s; the key file shares no key with the one in use: http://192.0.2.1:9010/a@b"

    assert Scrubber([KEY, PASSWORD]).text(said) == said


def test_what_is_hidden_already_stays_as_it_is():
    assert Scrubber([]).text('DB_PASSWORD = "(hidden)"') == 'DB_PASSWORD = "(hidden)"'


def test_paths_that_share_a_piece_with_a_secret_path_stay():
    assert Scrubber(["/var/lib/hcsidecar/apache/db.pw"]).text("in /var/lib/hcsidecar/apache") == (
        "in /var/lib/hcsidecar/apache"
    )


def test_a_document_hides_what_its_keys_call_secret():
    assert Scrubber([]).document({"password": "x", "tokens": 3}) == {"password": HIDDEN, "tokens": 3}


@given(st.text(min_size=4, max_size=40), st.text(), st.text())
def test_no_known_secret_is_ever_left(secret, before, after):
    said = Scrubber([secret]).text(before + secret + after)

    assert secret not in said.replace(HIDDEN, "\0")


def test_secrets_are_found_in_a_farm_file_that_is_broken():
    text = """[application
environment = { DB_PASSWORD = "hunter2", MODE = "fast", API_TOKEN = '''tok''' }
key_file = "farm.key"
url = "http://user:pass%40word@front/"
other = "http://lonely@front/"
"""
    assert secrets_in_farm_file(text) == {"hunter2", "tok", "pass%40word", "pass@word", "lonely"}


def test_secrets_are_found_in_key_files_environments_and_files_that_hold_nothing_else():
    variables = {"DB_PASSWORD_FILE": "/etc/db.pw", "TOKEN": "tok1", "MODE": "fast", "URL": "amqp://u:pw12@queue"}

    assert secrets_in_key_file(f'hash_seed = "{KEY}"\nsecret = broken {KEY[::-1]}') == {KEY, KEY[::-1]}
    assert secrets_in_environment(variables) == {"/etc/db.pw", "tok1", "pw12"}
    assert files_of_secrets(variables) == ("/etc/db.pw",)
    assert secrets_in_private_file('# users\nadmin:hash1\n\npassword = "hunter2"\n-----BEGIN KEY-----\nMIIabc==\n') == {
        "admin:hash1",
        "hash1",
        'password = "hunter2"',
        "hunter2",
        "MIIabc==",
    }


def test_a_text_is_cut_at_the_end_of_a_line():
    assert cut("one\ntwo\nthree\n", 20, keep_end=True) == ("one\ntwo\nthree\n", 0)
    assert cut("one\ntwo\nthree\n", 9, keep_end=True) == ("three\n", 8)
    assert cut("one\ntwo\nthree\n", 9, keep_end=False) == ("one\ntwo\n", 6)
    assert cut("éééé", 3, keep_end=False) == ("é", 5)
    assert cut("one\n", 0, keep_end=True) == ("", 4)


@given(st.text(), st.integers(0, 50), st.booleans())
def test_a_text_that_is_cut_keeps_its_limit(text, most, keep_end):
    assert len(cut(text, most, keep_end=keep_end).text.encode()) <= most


def test_a_part_says_what_is_left_out_and_has_nothing_that_steers_a_terminal():
    part = Part(name="events.txt", about="events", text="old\nnew \x1b[2J\n", lacking="some are missing")

    assert limited(part, 14, keep_end=True) == msgspec.structs.replace(
        part, text="new \\x1b[2J\n", lacking="some are missing; the oldest 4 bytes are left out: it may have 14"
    )


def test_the_parts_of_a_node_fit_into_its_limit_and_the_first_have_it():
    parts = [Part(name=f"{number}.txt", about="x", text="1234567\n" * 10) for number in range(4)]

    kept = fitted(parts, 240)

    assert [len(part.text) for part in kept] == [80, 80, 80, 0]
    assert [part.lacking for part in kept] == ["", "", "", "the last 80 bytes are left out: it may have 0"]
    assert [len(part.text) for part in fitted(parts[:2], 120)] == [40, 40]
    assert room_for_each(1) == LARGEST_NODE
    assert room_for_each(64) * 64 <= LARGEST


def test_parts_for_another_node_are_packed_and_read_again():
    node = NodeParts(node="web1", answered=True, parts=(Part(name="runs/a.txt", about="x", text="output\n"),))

    assert unpack(pack(node), node="web1", room=1000) == node


def test_parts_that_are_too_large_for_an_answer_lose_the_less_important_ones():
    text = "".join(sha256(str(number).encode()).hexdigest() + "\n" for number in range(2000))
    parts = tuple(Part(name=f"{number}.txt", about="x", text=text) for number in range(3))

    packed = pack(NodeParts(node="web1", answered=True, parts=parts), most=60_000)

    assert len(packed) <= 60_000
    found = unpack(packed, node="web1", room=LARGEST_NODE)
    assert found.parts[0].text
    assert "left out" in found.parts[-1].lacking


def test_what_another_node_tells_is_not_believed_to_be_in_order():
    hostile = NodeParts(
        node="web9",
        answered=True,
        parts=(
            Part(name="../../etc/passwd", about="x", text="x"),
            Part(name="a\x1b.txt", about="x", text="x"),
            Part(name="good.txt", about="x", text="\x1b[2J" * 100),
        ),
    )

    found = unpack(pack(hostile), node="web2", room=300)

    assert found.node == "web2"
    assert [(part.name, len(part.text) <= 100, "\x1b" in part.text) for part in found.parts] == [
        ("good.txt", True, False)
    ]


@pytest.mark.parametrize(
    "packed", [b"", b"x", zlib.compress(b"{}"), zlib.compress(b"[" * 100_000), zlib.compress(bytes(30_000_000))]
)
def test_what_is_no_snapshot_of_another_node_is_refused(packed):
    with pytest.raises(PackedError, match="not in a form that this version understands"):
        unpack(packed, node="web2", room=1000)


def test_the_table_of_contents_says_what_is_there_and_why_the_rest_is_not():
    nodes = [
        NodeParts(
            node="web1",
            answered=True,
            parts=(
                Part(name="status.json", about="the farm as it sees it", text="{}\n", seconds=0.25),
                Part(name="kernel/log.txt", about="the kernel's log", lacking="not permitted"),
            ),
        ),
        NodeParts(node="web2", answered=False, parts=(Part(name="targets.json", about="balancers"),)),
    ]

    told = contents(nodes, made_at="2026-11-30 20:00:00 UTC", by="hcsidecar 1", notes=["the farm file is wrong"])

    assert "  web1/status.json        3 B  the farm as it sees it\n" in told
    assert "    web1/kernel/log.txt: the kernel's log: not permitted\n" in told
    assert "web2: its daemon did not answer\n" in told
    assert "    web2/targets.json: balancers: there is nothing in it\n" in told
    assert "the farm file is wrong\n" in told
    assert list(members(nodes)) == [("web1/status.json", "{}\n")]
    assert lacking(nodes) == {"web1": {"kernel/log.txt": "not permitted"}, "web2": {}}
    assert index(nodes, made_at=1.0, version="1")["nodes"]["web1"]["parts"][0] == {
        "name": "status.json",
        "about": "the farm as it sees it",
        "bytes": 3,
        "lacking": "",
        "seconds": 0.25,
    }


def test_large_parts_have_their_size_in_larger_units():
    node = NodeParts(node="web1", answered=True, parts=(Part(name="a", about="x", text="1" * 2048, lacking="cut"),))

    told = contents([node], made_at="now", by="me")

    assert " 2 KiB  x\n" in told
    assert "not complete: cut\n" in told


def entry(number, time, node="web1", message="starts"):
    return Entry(number=number, time=time, node=node, level=Level.INFO, origin="daemon", message=message)


def test_events_are_read_as_they_were_written_and_others_are_counted():
    entries = (entry(1, 10.5), entry(2, 11.25))
    written = as_lines(entries).encode()
    odd = b'{"number": 1}\n\xff\n' + b"[" * 1000 + b"\n" + b"x" * (LONGEST_LINE + 1) + b"\n"
    late = as_lines([entry(3, 1e300)]).encode()

    found = read_events(odd + written + late)

    assert found.entries == entries
    assert found.unreadable == 5
    assert as_text(entries[0]) == "1970-01-01 00:00:10.500 web1 info    daemon: starts"
    assert as_text(entry(3, 1e300)).startswith("1970-01-01 00:00:00.000")


def test_the_timeline_is_by_time_and_has_what_is_wanted():
    first, second, third = entry(1, 10), entry(7, 11, "web2", "is dead"), entry(2, 12)

    assert merged([(first, third), (second,)]) == [first, second, third]
    assert merged([(first, third), (second,)], since=11, pattern=re.compile("daemon: is")) == [second]


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("web1/events.jsonl", "web1"),
        ("../events.jsonl", None),
        ("/events.jsonl", None),
        ("web1/../events.jsonl", None),
        ("a\x1b/events.jsonl", None),
        ("web1/events.txt", None),
    ],
)
def test_only_members_that_this_version_writes_are_events(name, node):
    assert node_of_member(name) == node
