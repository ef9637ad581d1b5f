"""Reading a bundle: what travels, what never does, and that every problem is told at once."""

import os
import socket

import pytest
from settings.farm_here import FARM, SCRIPT, TLS, make_certificate, make_farm, script

from hcsidecar.core.settings.revision import FARM_FILE, MAX_BYTES, MAX_FILES, BundleError, Manifest
from hcsidecar.farmfile.loading import load
from hcsidecar.settings.bundle import read_bundle
from hcsidecar.settings.farm_directory import MOST_ENTRIES, FarmDirectory
from hcsidecar.settings.travelling_secrets import secrets_that_travel


def test_what_looks_like_a_secret_beside_the_scripts_is_told(tmp_path):
    loaded = make_farm(tmp_path / "etc")
    assert list(secrets_that_travel(loaded)) == []
    script(tmp_path / "etc/bin/conf/db.password", "secret\n").chmod(0o644)
    (tmp_path / "etc/bin/link").symlink_to("/etc/shadow")
    [told] = secrets_that_travel(loaded)
    assert told.startswith("bin/conf/db.password looks like a secret (it is named like one), and travels")


def bundle_of(loaded, **options):
    return read_bundle(loaded, FarmDirectory.of(loaded, **options))


def names(loaded, **options):
    return sorted(bundle_of(loaded, **options).contents)


def problems(loaded):
    with pytest.raises(BundleError) as refused:
        bundle_of(loaded)
    return refused.value.problems


def test_a_bundle_is_the_farm_file_and_the_directories_of_its_scripts(tmp_path):
    loaded = make_farm(tmp_path)
    (tmp_path / "bin/common.sh").write_text("x=1\n")
    script(tmp_path / "bin/lib/deep/tool")
    (tmp_path / "notes.txt").write_text("not named, and beside the farm file")
    bundle = bundle_of(loaded)
    assert bundle.contents == {
        FARM_FILE: FARM.encode(),
        "bin/start": SCRIPT.encode(),
        "bin/stop": SCRIPT.encode(),
        "bin/common.sh": b"x=1\n",
        "bin/lib/deep/tool": SCRIPT.encode(),
    }
    assert bundle.executable == {"bin/start", "bin/stop", "bin/lib/deep/tool"}
    manifest = Manifest.of(
        bundle.contents, executable=bundle.executable, farm="apache", number=1, parents=(), author="", made_at=0
    )
    assert [entry.name for entry in manifest.files if entry.executable] == [
        "bin/lib/deep/tool",
        "bin/start",
        "bin/stop",
    ]


def test_the_farm_file_has_one_name_in_the_bundle_whatever_its_name_here(tmp_path):
    assert names(make_farm(tmp_path, farm_file="apache.toml")) == ["bin/start", "bin/stop", FARM_FILE]


def test_a_script_beside_the_farm_file_travels_alone(tmp_path):
    make_farm(tmp_path)
    script(tmp_path / "start")
    script(tmp_path / "stop")
    (tmp_path / "farm.toml").write_text(FARM.replace("bin/", ""))
    assert names(load(tmp_path / "farm.toml")) == [FARM_FILE, "start", "stop"]


def test_files_that_editors_and_python_leave_do_not_travel(tmp_path):
    loaded = make_farm(tmp_path)
    for name in (".git/config", "start~", ".start.swp", "start.unapplied", "stop.unapplied-2", "__pycache__/x.pyc"):
        script(tmp_path / "bin" / name)
    assert names(loaded) == ["bin/start", "bin/stop", FARM_FILE]


def test_keys_and_certificates_never_travel_by_whatever_name(tmp_path):
    make_certificate(tmp_path)
    loaded = make_farm(tmp_path, FARM + TLS)
    (tmp_path / "bin/key").symlink_to("../farm.key")
    (tmp_path / "bin/hard").hardlink_to(tmp_path / "farm.key")
    (tmp_path / "bin/pem").hardlink_to(tmp_path / "bin/farm.pem")
    (tmp_path / "users").write_text("secret")
    (tmp_path / "bin/users").symlink_to("../users")
    (tmp_path / "bin/farm").symlink_to("../farm.toml")
    found = bundle_of(loaded, private=[tmp_path / "users"])
    assert sorted(found.contents) == ["bin/start", "bin/stop", FARM_FILE]
    secret = (tmp_path / "farm.key").read_bytes()
    assert not any(secret in content for content in found.contents.values())


def test_a_key_that_is_named_as_a_script_is_a_problem(tmp_path):
    make_farm(tmp_path)
    (tmp_path / "farm.toml").write_text(FARM.replace("bin/stop", "./farm.key"))
    (tmp_path / "farm.key").chmod(0o700)
    assert problems(load(tmp_path / "farm.toml")) == (
        "farm.key is a file that stays on this machine: the farm file, a key or a certificate",
    )


def test_the_state_of_a_node_never_travels(tmp_path):
    make_farm(tmp_path)
    script(tmp_path / "bin/apache/web1/store")
    (tmp_path / "farm.toml").write_text(FARM.replace("[farm]", f'[farm]\nstate_dir = "{tmp_path}/bin"'))
    assert names(load(tmp_path / "farm.toml")) == ["bin/start", "bin/stop", FARM_FILE]


def test_a_farm_file_in_its_state_directory_is_read_like_any_other(tmp_path):
    make_farm(tmp_path)
    (tmp_path / "farm.toml").write_text(FARM.replace("[farm]", f'[farm]\nstate_dir = "{tmp_path}"'))
    assert names(load(tmp_path / "farm.toml")) == ["bin/start", "bin/stop", FARM_FILE]


def test_links_that_end_below_the_directory_are_followed(tmp_path):
    loaded = make_farm(tmp_path / "etc")
    script(tmp_path / "etc/common/common.sh", "shared")
    (tmp_path / "etc/bin/lib").symlink_to("../common")
    (tmp_path / "etc/bin/alias").symlink_to(tmp_path / "etc/bin/start")
    found = bundle_of(loaded)
    assert found.contents["bin/lib/common.sh"] == b"shared"
    assert found.contents["bin/alias"] == SCRIPT.encode()


def test_the_directory_itself_may_be_reached_by_a_link(tmp_path):
    make_farm(tmp_path / "real")
    (tmp_path / "etc").symlink_to(tmp_path / "real")
    assert names(load(tmp_path / "etc/farm.toml")) == ["bin/start", "bin/stop", FARM_FILE]


def test_every_link_that_leads_out_or_nowhere_or_in_circles_is_told_at_once(tmp_path):
    loaded = make_farm(tmp_path / "etc")
    outside = script(tmp_path / "elsewhere/x")
    (tmp_path / "etc/bin/a").symlink_to(outside)
    (tmp_path / "etc/bin/b").symlink_to("../..")
    (tmp_path / "etc/bin/c").symlink_to("nothing")
    (tmp_path / "etc/bin/d").symlink_to("../bin")
    (tmp_path / "etc/bin/e").symlink_to("e")
    told = problems(loaded)
    assert [text.split(" ")[0] for text in told][:4] == ["bin/a", "bin/b", "bin/c", "bin/d"]
    assert len(told) == 5
    assert told[0].endswith(f"by a symbolic link to {outside}: put the file there instead")
    assert "a symbolic link to nothing" in told[2]
    assert "a directory that it lies in" in told[3]
    assert "bin/e" in told[4]


def test_what_is_no_file_beside_the_scripts_is_left_out_and_nobody_waits_for_it(tmp_path):
    loaded = make_farm(tmp_path)
    os.mkfifo(tmp_path / "bin/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bin/socket"))
        assert names(loaded) == ["bin/start", "bin/stop", FARM_FILE]


def test_a_script_that_has_become_a_pipe_is_told_and_nobody_waits_for_it(tmp_path):
    loaded = make_farm(tmp_path)
    (tmp_path / "bin/stop").unlink()
    os.mkfifo(tmp_path / "bin/stop")
    assert problems(loaded) == (f"{tmp_path}/bin/stop cannot be read: it is no plain file: move it away",)


def test_a_named_file_that_is_not_there_is_missing_in_the_bundle(tmp_path):
    loaded = make_farm(tmp_path)
    (tmp_path / "bin/stop").unlink()
    assert names(loaded) == ["bin/start", FARM_FILE]


def test_the_bundle_has_the_farm_file_that_was_loaded_and_not_a_later_one(tmp_path):
    loaded = make_farm(tmp_path)
    (tmp_path / "farm.toml").write_text("other")
    assert bundle_of(loaded).contents[FARM_FILE] == FARM.encode()


def test_the_largest_number_of_files_passes_and_one_more_is_told_once(tmp_path):
    loaded = make_farm(tmp_path)
    for index in range(MAX_FILES - 3):
        (tmp_path / f"bin/{index}").write_bytes(b"")
    assert len(names(loaded)) == MAX_FILES
    for index in range(10):
        (tmp_path / f"bin/more{index}").write_bytes(b"")
    [told] = problems(loaded)
    assert told.startswith(f"there are more than {MAX_FILES} files in it")


def test_the_largest_size_passes_and_one_byte_more_is_told_with_the_file(tmp_path):
    loaded = make_farm(tmp_path)
    rest = MAX_BYTES - len(FARM) - 2 * len(SCRIPT)
    (tmp_path / "bin/a").write_bytes(b"x" * rest)
    assert sum(map(len, bundle_of(loaded).contents.values())) == MAX_BYTES
    (tmp_path / "bin/a").write_bytes(b"x" * (rest + 1))
    assert problems(loaded) == (f"with bin/a there are more than {MAX_BYTES} bytes in it: make it smaller",)


def test_a_huge_file_does_not_fill_the_memory(tmp_path):
    loaded = make_farm(tmp_path)
    with (tmp_path / "bin/a").open("wb") as file:
        file.truncate(1 << 40)
    assert problems(loaded) == (f"with bin/a there are more than {MAX_BYTES} bytes in it: make it smaller",)


def test_a_directory_with_thousands_of_directories_is_not_searched_for_long(tmp_path):
    loaded = make_farm(tmp_path)
    for index in range(MOST_ENTRIES):
        (tmp_path / f"bin/{index}").mkdir()
    assert problems(loaded) == (f"there are more than {MOST_ENTRIES} files in the directories of scripts",)


def test_names_that_no_bundle_can_have_are_told(tmp_path):
    loaded = make_farm(tmp_path)
    (tmp_path / os.fsdecode(b"bin/\xff")).write_bytes(b"")
    (tmp_path / "bin/a\nb").write_bytes(b"")
    (tmp_path / ("bin/" + "d" * 200) / ("e" * 200) / ("f" * 200)).mkdir(parents=True)
    told = problems(loaded)
    assert len(told) == 3
    assert "is not UTF-8" in "".join(told)
    assert "control character" in "".join(told)
    assert "longer than 512 bytes" in "".join(told)


def test_a_script_that_has_the_name_of_the_farm_file_in_bundles_is_told(tmp_path):
    make_farm(tmp_path, farm_file="apache.toml")
    script(tmp_path / "farm.toml")
    (tmp_path / "apache.toml").write_text(FARM.replace("bin/stop", "farm.toml"))
    [told] = problems(load(tmp_path / "apache.toml"))
    assert told.startswith("application.stop is farm.toml: that is the name of the farm file")
