"""A candidate is checked on this machine before it is taken: with the key and certificates that are here."""

import os
import shutil
import socket

import pytest
from settings.farm_here import FARM, SCRIPT, TLS, make_certificate, make_farm, script
from settings.revisions import revision

from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.farmfile.loading import see
from hcsidecar.settings.bundle import read_bundle
from hcsidecar.settings.candidate import check_here
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.unpacking import unpack

FILES = {FARM_FILE: FARM.encode(), "bin/start": SCRIPT.encode(), "bin/stop": SCRIPT.encode()}
SCRIPTS = ("bin/start", "bin/stop")


@pytest.fixture
def etc(tmp_path):
    make_farm(tmp_path / "etc")
    return tmp_path / "etc"


def problems(etc, contents, *, executable=SCRIPTS, me="web1", running=()):
    candidate = etc.parent / "candidate"
    shutil.rmtree(candidate, ignore_errors=True)
    unpack(revision(2, contents, executable=executable), contents, candidate)
    node = see(etc / FARM_FILE).farm.node_named(me)
    found = check_here(candidate, node, farm_directory=etc, running=running)
    assert not any("candidate" in str(problem) for problem in found), found
    return {problem.path: f"{problem.message} ({problem.hint})" for problem in found}


def farm_file(text, **more):
    return FILES | {FARM_FILE: text.encode()} | more


def test_what_one_node_reads_another_may_take_with_its_own_key(etc, tmp_path):
    loaded = make_farm(tmp_path / "there")
    bundle = read_bundle(loaded, FarmDirectory.of(loaded))
    assert "farm.key" not in bundle.contents
    assert problems(etc, bundle.contents, executable=bundle.executable) == {}


def test_certificates_and_programs_of_the_machine_are_looked_for_where_they_are(etc):
    make_certificate(etc)
    (etc / "work").mkdir()
    script(etc.parent / "common/prestart")
    own = 'prestart = "../common/prestart"\ndirectory = "work"\npoststop = "/bin/true"\n'
    assert problems(etc, farm_file(FARM + own + TLS)) == {}


def test_a_working_directory_may_come_with_the_scripts(etc):
    assert problems(etc, farm_file(FARM + 'directory = "lib"\n', **{"lib/x": b""})) == {}


def test_every_problem_is_told_by_the_names_that_files_have_here(etc):
    broken = FARM + 'prestart = "bin/missing"\ndirectory = "nowhere"\n' + TLS
    broken += '[[check]]\ntype = "command"\nname = "queue"\ncommand = ["bin/start_queue"]\n'
    found = problems(etc, farm_file(broken), executable=["bin/start"])
    assert found == {
        "web.tls.cert": f"cannot be read: {etc}/bin/farm.crt: No such file or directory"
        " (relative to the farm file, or absolute)",
        "web.tls.key": f"cannot be read: {etc}/bin/farm.pem: No such file or directory"
        " (relative to the farm file, or absolute)",
        "application.stop": f"is not executable (chmod +x {etc}/bin/stop)",
        "application.prestart": f"is not there (make {etc}/bin/missing, or name another one)",
        "application.directory": f"is not there: {etc}/nowhere (mkdir {etc}/nowhere, or another one)",
        "check[1].command[1]": found["check[1].command[1]"],
    }
    assert "start_queue" in found["check[1].command[1]"]


def test_a_script_that_only_the_machine_has_is_not_taken_for_one_of_the_candidate(etc):
    contents = {name: content for name, content in FILES.items() if name != "bin/stop"}
    assert (etc / "bin/stop").exists()
    assert list(problems(etc, contents, executable=["bin/start"])) == ["application.stop"]


def test_a_farm_file_that_is_wrong_is_told(etc):
    assert list(problems(etc, farm_file(FARM + "sta"))) == [f"{etc}/{FARM_FILE}"]


def test_another_key_file_must_be_here(etc):
    other = FARM.replace("[farm]", '[farm]\nkey_file = "other.key"')
    assert f"{etc}/other.key" in problems(etc, farm_file(other))["farm.key_file"]


def test_a_new_address_of_this_node_must_be_here_and_those_of_others_need_not(etc):
    moved = FARM.replace("127.0.0.1", "192.0.2.11").replace("192.0.2.12", "192.0.2.22")
    assert problems(etc, farm_file(moved)) == {
        "node[1].address": "is not an address of this machine: 192.0.2.11 (ip address, on web1)"
    }


def test_an_address_that_the_node_has_had_may_be_down(etc):
    assert problems(etc, FILES, me="web2") == {}


def test_a_node_that_is_removed_needs_nothing_of_what_the_candidate_names(etc):
    assert problems(etc, farm_file(FARM.replace('"web1"', '"web3"') + TLS)) == {}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
def test_a_directory_that_others_may_write_is_told_before_scripts_are_put_there(etc):
    (etc / "bin").chmod(0o777)
    told = f"is reached by {etc}/bin, which may be written by others than its owner (chmod go-w {etc}/bin)"
    assert problems(etc, FILES) == {"application.start": told, "application.stop": told}


def test_a_port_that_another_process_has_is_told_with_the_node_and_the_daemons_own_is_not(etc):
    running = see(etc / FARM_FILE).farm
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as heartbeats:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        heartbeats.bind(("127.0.0.1", 0))
        tcp, udp = (each.getsockname()[1] for each in (taken, heartbeats))
        changed = farm_file(FARM + f'[web]\nlisten = ["0.0.0.0:{tcp}"]\n[heartbeat]\nport = {udp}\n')
        found = problems(etc, changed, running=[running])
        assert sorted(found) == ["heartbeat.port", "web.listen"]
        assert f"cannot be used on web1: TCP 0.0.0.0:{tcp}: another process has the port" in found["web.listen"]
        assert f"cannot be used on web1: UDP 127.0.0.1:{udp}: another process has the port" in found["heartbeat.port"]
        own = see(etc.parent / "candidate" / FARM_FILE, machine=etc).farm
        assert problems(etc, changed, running=[own]) == {}
    assert problems(etc, changed, running=[running]) == {}


def test_a_listener_needs_an_address_of_this_machine_unless_it_is_the_nodes_own(etc):
    running = see(etc / FARM_FILE).farm
    found = problems(etc, farm_file(FARM + '[health]\nlisten = ["192.0.2.99:9011"]\n'), running=[running])
    assert "TCP 192.0.2.99:9011: this machine does not have the address" in found["health.listen"]
    assert problems(etc, farm_file(FARM + "[heartbeat]\nport = 4900\n"), me="web2", running=[running]) == {}
