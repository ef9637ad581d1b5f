"""Revisions: equal digests mean equal content, and nothing that the network says becomes a path outside."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.settings.revision import (
    FARM_FILE,
    MAX_BYTES,
    MAX_FILES,
    BundleError,
    Manifest,
    RevisionId,
    bundle_problems,
    content_problem,
    decode_manifest,
    name_problem,
)

FILES = {FARM_FILE: b"[farm]\n", "bin/start": b"#!/bin/sh\n"}


def manifest(contents=FILES, **fields):
    values = {"farm": "apache", "number": 1, "parents": (), "author": "root on web1", "made_at": 1_790_000_000}
    return Manifest.of(contents, executable={"bin/start"}, **(values | fields))


def test_a_manifest_survives_the_wire():
    assert decode_manifest(manifest().encoded()) == manifest()


def test_the_digest_tells_every_difference():
    changed = [
        manifest({**FILES, "bin/start": b"#!/bin/sh\n\n"}),
        manifest({**FILES, "bin/stop": b""}),
        manifest(number=2),
        manifest(parents=("a" * 64,)),
        manifest(author="root on web2"),
        manifest(message="because"),
        Manifest.of(FILES, farm="apache", number=1, parents=(), author="root on web1", made_at=1_790_000_000),
    ]
    assert len({each.id.digest for each in [manifest(), *changed]}) == 1 + len(changed)
    assert manifest().id == manifest().id


def test_content_is_compared_whoever_made_it():
    assert manifest().has_content_of(manifest(number=7, author="somebody"))
    assert not manifest().has_content_of(manifest({FARM_FILE: b"[farm]\n"}))


def test_a_revision_is_named_by_number_and_eight_digits():
    assert str(RevisionId(8, "3fa1c2d4" + "0" * 56)) == "revision 8 (3fa1c2d4)"
    assert RevisionId(8, "3fa1c2d4" + "0" * 56).mark == (8, bytes.fromhex("3fa1c2d400000000"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is not a plain path below the directory of the farm file"),
        ("/etc/passwd", "is not a plain path below the directory of the farm file"),
        ("../farm.key", "is not a plain path below the directory of the farm file"),
        ("bin/../../x", "is not a plain path below the directory of the farm file"),
        ("bin//x", "is not a plain path below the directory of the farm file"),
        ("./x", "is not a plain path below the directory of the farm file"),
        ("bin/", "is not a plain path below the directory of the farm file"),
        ("a\nb", "has a control character or a backslash in it"),
        ("a\0b", "has a control character or a backslash in it"),
        ("a\\b", "has a control character or a backslash in it"),
        ("x" * 256, "has a component of more than 255 bytes"),
        ("x/" * 256 + "y", "is longer than 512 bytes"),
        ("\udcff", "is not UTF-8"),
        ("bin/start", None),
        ("ferme/démarrer", None),
    ],
)
def test_names_stay_below_the_directory(name, why):
    assert name_problem(name) == why


def test_every_reason_is_given_at_once():
    sizes = {f"f{index}": MAX_BYTES for index in range(MAX_FILES + 1)} | {"../x": 0}
    assert list(bundle_problems(sizes)) == [
        "farm.toml is missing",
        "it has 202 files, and 200 are the most",
        f"its files have {201 * MAX_BYTES} bytes together, and {MAX_BYTES} are the most",
        "'../x' is not a plain path below the directory of the farm file",
    ]
    with pytest.raises(BundleError, match=r"farm\.toml is missing"):
        manifest({})


def test_a_file_of_a_bundle_is_not_a_directory_too():
    sizes = {FARM_FILE: 0, "bin": 0, "bin-a": 0, "bin/lib/start": 0, f"{FARM_FILE}/x": 0, "binary/x": 0}
    assert list(bundle_problems(sizes)) == [
        "'bin/lib/start' lies in a directory that is a file of the bundle",
        "'farm.toml/x' lies in a directory that is a file of the bundle",
    ]


def test_the_largest_bundle_passes():
    contents = {FARM_FILE: b"x" * MAX_BYTES} | {f"{'d' * 250}/{'e' * 250}/{index}": b"" for index in range(199)}
    assert decode_manifest(manifest(contents).encoded()).id == manifest(contents).id


def altered(**fields):
    return json.dumps(json.loads(manifest().encoded()) | fields).encode()


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"[" * 100_000,
        b"x" * 300_000,
        b"{}",
        altered(number=0),
        altered(number=2**60),
        altered(farm=""),
        altered(files=[]),
        altered(parents=["a" * 64] * 3),
        altered(parents=["xyz"]),
        altered(files=json.loads(manifest().encoded())["files"][::-1]),
        altered(files=[{"name": "../farm.toml", "size": 1, "sha256": "a" * 64}]),
        manifest().encoded() + b" ",
        manifest().encoded().replace(b'"number"', b' "number"'),
    ],
)
def test_what_is_no_manifest_is_refused(encoded):
    with pytest.raises(BundleError):
        decode_manifest(encoded)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoder_raise_anything_else(encoded):
    with contextlib.suppress(BundleError):
        decode_manifest(encoded)


def test_content_must_be_what_the_manifest_says():
    entry = manifest().files[1]
    assert entry.name == FARM_FILE
    assert content_problem(entry, b"[farm]\n") is None
    assert content_problem(entry, b"[farm]") == "farm.toml has 6 bytes instead of 7"
    assert content_problem(entry, b"[fXrm]\n") == "farm.toml has other content than the manifest says"
