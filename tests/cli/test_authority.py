"""`hcsidecar ca show`: the farm's authority, for whoever is to trust it."""

import json
import os
import ssl
import subprocess
import sys
from hashlib import sha256

import pytest


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "hcsidecar", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "etc" / "farm.toml"
    assert run("init", path.parent, "--name", "shop", "--node", "web1=192.0.2.11").returncode == 0
    return path


def fingerprint(pem):
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_it_shows_the_fingerprint_as_browsers_do_and_the_certificate(config):
    pem = config.with_name("ca.pem").read_text()
    done = run("ca", "show", "--config", config)
    assert done.returncode == 0, done.stderr
    told, mark, shown = done.stdout.partition("-----BEGIN")
    assert mark + shown == pem
    facts = dict(line.split(maxsplit=1) for line in told.strip().splitlines())
    assert facts == {
        "farm": "shop",
        "name": "hcsidecar farm shop",
        "file": str(config.with_name("ca.pem")),
        "valid": "from 1970-01-01, without an end",
        "SHA-256": facts["SHA-256"],
    }
    assert len(facts["SHA-256"]) == 95
    assert facts["SHA-256"].replace(":", "").lower() == fingerprint(pem)


def test_what_it_prints_is_a_file_that_programs_trust_by(config, tmp_path):
    trusted = tmp_path / "ca.pem"
    trusted.write_text(run("ca", "show", "--config", config).stdout)
    context = ssl.create_default_context(cafile=trusted)
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "hcsidecar farm shop"),),)]


def test_it_is_json_for_programs(config):
    pem = config.with_name("ca.pem").read_text()
    told = json.loads(run("ca", "show", "--json", "--config", config).stdout)
    assert told.pop("sha256").replace(":", "").lower() == fingerprint(pem)
    assert told == {
        "farm": "shop",
        "name": "hcsidecar farm shop",
        "begins": "1970-01-01",
        "ends": None,
        "file": str(config.with_name("ca.pem")),
        "certificate": pem,
    }


def test_it_needs_no_secret(config):
    config.with_name("ca.key").unlink()
    config.with_name("farm.key").unlink()
    assert run("ca", "show", "--config", config).returncode == 0


@pytest.mark.parametrize("what", ["none", "garbage", "a node's", "a directory"])
def test_an_authority_that_cannot_be_shown_is_told_with_what_to_do(config, what):
    path = config.with_name("ca.pem")
    path.unlink()
    match what:
        case "garbage":
            path.write_text("garbage")
        case "a node's":
            made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            made += ["-subj", "/CN=web1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", os.devnull]
            subprocess.run([*made, "-out", path], check=True, capture_output=True)
        case "a directory":
            path.mkdir()
        case _:
            pass
    done = run("ca", "show", "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_farm_file_is_told_with_its_problems(config):
    config.write_text("[farm]\nname = 3\n")
    done = run("ca", "show", "--config", config)
    assert done.returncode == 2
    assert "farm.name" in done.stderr
