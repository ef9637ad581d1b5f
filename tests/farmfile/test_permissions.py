import os

import pytest
from applications import Application

from hcsidecar.farmfile.permissions import why_not
from hcsidecar.farmfile.places import Places

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture
def application(tmp_path):
    return Application(tmp_path)


def problems(application, **table):
    return {
        each.path: f"{each.message} ({each.hint})"
        for each in why_not(application.table(**table), Places.beside(application.config))
    }


def test_scripts_that_are_there_and_ours_alone_have_no_problems(application):
    assert problems(application) == {}


def test_every_script_with_a_problem_is_told_at_its_place_in_the_farm_file(application):
    (application.bin / "start").unlink()
    (application.bin / "stop").chmod(0o644)
    (application.bin / "prestart").chmod(0o775)
    (application.bin / "transition").unlink()
    (application.bin / "transition").mkdir()
    assert problems(application) == {
        "application.start": f"is not there (make {application.bin}/start, or name another one)",
        "application.stop": f"is not executable (chmod +x {application.bin}/stop)",
        "application.prestart": f"may be written by others than its owner (chmod go-w {application.bin}/prestart)",
        "application.transition": f"is not a file (make {application.bin}/transition one, or name another one)",
    }


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_scripts_in_a_directory_that_others_may_write_are_refused(application, mode):
    application.directory.chmod(mode)
    assert set(problems(application)) == {f"application.{key}" for key in ("start", "stop", "prestart", "transition")}
    application.directory.chmod(0o700)


def test_a_script_right_in_a_directory_like_tmp_is_refused(application):
    application.bin.chmod(0o1777)
    assert "everybody can create files" in problems(application)["application.start"]


def test_the_way_of_a_symbolic_link_counts_as_well_as_where_it_leads(application):
    elsewhere = application.directory / "elsewhere"
    elsewhere.mkdir()
    (application.bin / "start").rename(elsewhere / "real")
    (application.bin / "start").symlink_to("../elsewhere/./real")
    assert problems(application) == {}

    elsewhere.chmod(0o777)
    assert f"is reached by {elsewhere}" in problems(application)["application.start"]
    elsewhere.chmod(0o755)

    (application.bin / "start").unlink()
    (application.bin / "start").symlink_to(elsewhere / "real")
    assert problems(application) == {}


@pytest.mark.parametrize("target", ["start", "/nowhere/start"])
def test_a_symbolic_link_that_leads_nowhere_is_told(application, target):
    (application.bin / "start").unlink()
    (application.bin / "start").symlink_to(target)
    assert "application.start" in problems(application)


@needs_root
def test_a_script_that_belongs_to_another_user_is_refused(application):
    os.chown(application.bin / "start", 65534, 0)
    assert "belongs to another user (uid 65534)" in problems(application)["application.start"]


def test_an_absolute_path_is_taken_as_it_is(application):
    assert problems(application, start="/bin/true", stop=str(application.bin / "stop")) == {}
