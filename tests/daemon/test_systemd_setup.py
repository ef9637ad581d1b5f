"""Setting up the systemd unit: the files for real, systemctl by a small program that remembers what it was told."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hcsidecar.cli import files
from hcsidecar.cli import install as service
from hcsidecar.core.service_unit import UnitOptions, for_systemd, is_ours
from hcsidecar.daemon.console_setup import ConsoleSetup
from hcsidecar.daemon.systemd_setup import (
    Service,
    ServiceError,
    console_unit,
    node_unit,
    shipped_unit,
    this_program,
    why_not_here,
)

app = typer.Typer(rich_markup_mode=None)
files.register(app)
service.register(app)

SYSTEMCTL = """\
#!/bin/sh
# Remembers enabled and running units as files, and every call.
cd "$(dirname "$0")" || exit 9
echo "$*" >>calls
case $1 in
  enable | start) [ ! -e "$1-fails" ] || { echo "Job for $2 failed." >&2; exit 1; }; touch "$1.$2" ;;
  disable) rm -f "enable.$2" ;;
  stop) rm -f "start.$2" ;;
  is-enabled) test -e "enable.$2" ;;
  is-active) test -e "start.$2" ;;
  --version) cat version ;;
esac
"""


class Machine:
    """A root directory, a farm file below it, and a systemctl of its own."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.bin = directory / "bin"
        self.unit = self.root / "etc/systemd/system/hcsidecar.service"
        self.config = self.root / "etc/hcsidecar/farm.toml"
        self.config.parent.mkdir(parents=True)
        self.config.write_text("")
        self.bin.mkdir()
        systemctl = self.bin / "systemctl"
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)
        self.runs_systemd("systemd 252 (252.38-1~deb12u1)")

    def runs_systemd(self, version):
        (self.bin / "version").write_text(f"{version}\n+PAM +AUDIT\n")

    def service(self, said, *, name="hcsidecar"):
        environment = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        return Service(name, root=self.root, live=True, say=said.append, environment=environment)

    def install(self, *, start=True, force=False, **wishes):
        said = []
        self.service(said).install(node_unit(wish(**wishes)), start=start, force=force)
        return said

    def uninstall(self, *, force=False):
        said = []
        self.service(said).uninstall(force=force)
        return said

    def calls(self):
        """What systemctl was told to do since the last look, without what it was asked."""
        path = self.bin / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith(("is-", "--version"))]


def wish(**others):
    usual = {
        "program": "/opt/hcsidecar/bin/hcsidecar",
        "config": "/etc/hcsidecar/farm.toml",
        "node": None,
        "state": None,
        "drain": 10.0,
    }
    return UnitOptions(**usual | others)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_install_writes_enables_and_starts_and_tells_each_step(machine):
    said = machine.install()
    assert machine.calls() == ["daemon-reload", "enable hcsidecar", "start hcsidecar"]
    assert said == [
        f"wrote {machine.unit}",
        "told systemd to read its units again",
        "enabled hcsidecar: it starts at boot",
        "started hcsidecar",
    ]
    assert is_ours(machine.unit.read_text())
    assert stat.S_IMODE(machine.unit.stat().st_mode) == 0o644


def test_a_second_install_does_nothing_and_says_so(machine):
    machine.install()
    machine.calls()
    assert machine.install() == [
        f"{machine.unit} is right already",
        "hcsidecar starts at boot already",
        "hcsidecar runs already",
    ]
    assert machine.calls() == []


def test_a_running_node_is_not_restarted_for_a_new_unit(machine):
    machine.install()
    machine.calls()
    said = machine.install(drain=300.0)
    assert machine.calls() == ["daemon-reload"]
    assert "the unit was written for another version or other settings" in said
    assert said[-1] == "hcsidecar runs already: systemctl restart hcsidecar applies the new unit"
    assert "TimeoutStopSec=330\n" in machine.unit.read_text()


def test_it_is_not_started_when_told_so_or_without_a_farm_file(machine):
    assert machine.install(start=False)[-1] == "not started, because of --no-start; later: systemctl start hcsidecar"
    machine.config.unlink()
    assert "not started: /etc/hcsidecar/farm.toml is not there yet" in machine.install()[-1]
    assert machine.calls() == ["daemon-reload", "enable hcsidecar"]


def test_an_attempt_that_failed_half_way_is_completed_by_the_next(machine):
    (machine.bin / "enable-fails").touch()
    with pytest.raises(ServiceError, match=r"systemctl enable hcsidecar: Job for hcsidecar failed\."):
        machine.install()
    (machine.bin / "enable-fails").unlink()
    machine.install()
    assert machine.calls()[-2:] == ["enable hcsidecar", "start hcsidecar"]


def test_a_node_that_does_not_start_is_told_with_where_to_look(machine):
    (machine.bin / "start-fails").touch()
    with pytest.raises(ServiceError, match="journalctl -u hcsidecar says why"):
        machine.install()


@pytest.mark.parametrize("how", ["changed", "their own"])
def test_an_administrators_unit_stays_unless_forced_and_then_a_copy_is_kept(machine, how):
    machine.install()
    theirs = machine.unit.read_text() + "# mine\n" if how == "changed" else "[Service]\nExecStart=/bin/true\n"
    machine.unit.write_text(theirs)
    with pytest.raises(ServiceError, match="--force"):
        machine.install()
    with pytest.raises(ServiceError, match="nothing was done"):
        machine.uninstall()
    assert machine.unit.read_text() == theirs

    copy = machine.unit.with_name("hcsidecar.service.old")
    assert f"kept what was there as {copy}" in machine.install(force=True)
    assert copy.read_text() == theirs
    assert is_ours(machine.unit.read_text())


def test_the_unit_fits_the_systemd_that_runs(machine):
    machine.install()
    assert "RestartSec=10\n" in machine.unit.read_text()
    assert "RestartSteps=" not in machine.unit.read_text()
    machine.runs_systemd("systemd 257 (257.9-1~deb13u1)")
    assert "the unit was written for another version or other settings" in machine.install()
    assert "RestartSec=2\nRestartSteps=5\n" in machine.unit.read_text()


@pytest.mark.parametrize("version", [252, 257])
def test_a_packages_unit_that_is_right_is_left_to_the_package(machine, version):
    packaged = machine.root / "lib/systemd/system/hcsidecar.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text(for_systemd(shipped_unit(), version))
    said = machine.install(program="/usr/bin/hcsidecar")
    assert not machine.unit.exists()
    assert said[0] == f"{packaged}, which a package brought, is right already"
    assert machine.calls() == ["enable hcsidecar", "start hcsidecar"]

    said = machine.uninstall()
    assert machine.calls() == ["stop hcsidecar", "disable hcsidecar"]
    assert f"stays: {packaged}, which goes with its package" in said
    assert packaged.exists()


def test_state_elsewhere_is_made_for_root_alone(machine):
    assert f"made {machine.root}/srv/state" in machine.install(state="/srv/state")
    assert stat.S_IMODE((machine.root / "srv/state").stat().st_mode) == 0o700
    assert "ReadWritePaths=/srv/state\n" in machine.unit.read_text()


def test_uninstall_undoes_install_and_says_what_stays(machine):
    machine.install()
    machine.calls()
    (machine.root / "var/lib/hcsidecar").mkdir(parents=True)
    drop_ins = machine.unit.with_name("hcsidecar.service.d")
    drop_ins.mkdir()
    said = machine.uninstall()
    assert machine.calls() == ["stop hcsidecar", "disable hcsidecar", "daemon-reload"]
    assert said == [
        "stopped hcsidecar; an application that it has started runs on",
        "disabled hcsidecar: it does not start at boot any more",
        f"removed {machine.unit}",
        "told systemd to read its units again",
        f"stays: {drop_ins}, with your changes of the unit",
        "stays: /etc/hcsidecar/farm.toml, with its key file and scripts",
        "stays: /var/lib/hcsidecar, the state",
    ]
    assert list(machine.unit.parent.iterdir()) == [drop_ins]


def test_a_second_uninstall_finds_nothing_to_do(machine):
    machine.install()
    machine.uninstall()
    machine.calls()
    assert machine.uninstall() == [f"there is no {machine.unit}: nothing to remove"]
    assert machine.calls() == []


def test_two_farms_have_a_unit_each(machine):
    machine.install()
    machine.service([], name="hcsidecar-mail").install(
        node_unit(wish(config="/etc/hcsidecar/mail.toml")), start=True, force=False
    )
    machine.uninstall()
    assert machine.unit.with_name("hcsidecar-mail.service").exists()
    assert not machine.unit.exists()


def test_the_files_of_another_machine_are_prepared_with_the_real_systemctl(machine):
    said = []
    there = Service("hcsidecar", root=machine.root, live=False, say=said.append)
    there.install(node_unit(wish()), start=True, force=False)
    wanted = machine.unit.parent / "multi-user.target.wants" / "hcsidecar.service"
    assert wanted.is_symlink()
    there.install(node_unit(wish()), start=True, force=False)
    assert said[-1] == "hcsidecar starts at boot already"
    there.uninstall(force=False)
    assert not wanted.is_symlink()
    assert not machine.unit.exists()
    assert machine.calls() == []


def test_without_systemd_or_without_root_it_is_said_what_to_do(machine, tmp_path):
    path = {"PATH": str(machine.bin)}
    assert "let what does run it start `hcsidecar run`" in why_not_here(path, booted=tmp_path / "missing")
    assert "systemd does not run this machine" in why_not_here({"PATH": str(tmp_path)}, booted=tmp_path)
    expected = "" if os.geteuid() == 0 else "only root sets up units: try it with sudo"
    assert why_not_here(path, booted=tmp_path) == expected


def test_the_unit_runs_the_installation_that_writes_it(tmp_path):
    assert this_program() == str(Path(sys.executable).with_name("hcsidecar"))
    with pytest.raises(ServiceError, match="install hcsidecar into a virtual environment"):
        this_program(str(tmp_path / "python"))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="hcsidecar")


def test_a_wrong_farm_file_is_told_before_anything_is_done(machine):
    machine.config.write_text("[farm]\nnam = 3\n")
    result = run("install", "--root", machine.root, "--config", "/etc/hcsidecar/farm.toml")
    assert result.exit_code == 2
    assert "farm.nam" in result.stderr
    assert not machine.unit.exists()


def test_a_node_that_the_farm_does_not_have_is_refused(machine):
    machine.config.unlink()
    assert run("init", machine.config.parent, "--name", "apache", "--node", "web1=192.0.2.11").exit_code == 0
    result = run("install", "--root", machine.root, "--config", "/etc/hcsidecar/farm.toml", "--node", "web9")
    assert result.exit_code == 2
    assert "has none of the name web9" in result.stderr


def test_a_farm_file_in_tmp_is_refused(machine):
    result = run("install", "--root", machine.root, "--config", "/tmp/farm.toml")  # noqa: S108 - never used
    assert result.exit_code == 1
    assert "since the service has a /tmp of its own" in result.stderr


def test_a_wrong_name_of_a_unit_is_refused(machine):
    result = run("install", "--root", machine.root, "--unit", "hcsidecar.service")
    assert result.exit_code == 2
    assert "name it without .service: hcsidecar" in result.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd, which make test installs")
def test_systemd_finds_nothing_to_say_against_the_unit(machine):
    machine.runs_systemd(subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout)
    machine.install(program="/bin/true", config="/etc/my farm/100%.toml", state="/srv/my state", node="web1")
    verified = subprocess.run(
        ["systemd-analyze", "verify", machine.unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd, which make test installs")
def test_the_unit_is_as_hard_as_the_manual_says(machine):
    machine.install(program="/bin/true")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=30", machine.unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-200:]


USERADD = """\
#!/bin/sh
# Makes a line for the last argument, below the directory after --prefix.
echo "$*" >>"$(dirname "$0")/useradd-calls"
[ ! -e "$(dirname "$0")/useradd-fails" ] || { echo "useradd: cannot lock /etc/passwd" >&2; exit 1; }
for name; do :; done
mkdir -p "$2/etc"
echo "$name:x:990:990::/:/usr/sbin/nologin" >>"$2/etc/passwd"
"""


class MachineWithConsole(Machine):
    """The same, and a useradd of its own."""

    def __init__(self, directory):
        super().__init__(directory)
        self.drop_in = self.unit.with_name("hcsidecar.service.d") / "console.conf"
        self.console = self.unit.with_name("hcsidecar-console.service")
        useradd = self.bin / "useradd"
        useradd.write_text(USERADD)
        useradd.chmod(0o755)

    def setup(self, said):
        environment = os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        return ConsoleSetup(root=self.root, live=False, say=said.append, environment=environment)

    def set_up(self):
        said = []
        changed = self.setup(said).install()
        self.service(said).install(node_unit(wish()), start=True, force=False, changed=changed)
        self.service(said, name="hcsidecar-console").install(console_unit(wish()), start=True, force=False)
        return said


@pytest.fixture
def with_console(tmp_path):
    return MachineWithConsole(tmp_path)


def test_the_console_gets_a_user_a_unit_and_the_daemons_socket(with_console):
    machine = with_console
    said = machine.set_up()
    assert said[:2] == [
        "made the user hcsidecar-console",
        f"wrote {machine.drop_in}, by which the daemon opens its socket for the console",
    ]
    assert "--system" in (machine.bin / "useradd-calls").read_text()
    assert "SupplementaryGroups=hcsidecar-console\n" in machine.drop_in.read_text()
    assert "ExecStart=/opt/hcsidecar/bin/hcsidecar console\n" in machine.console.read_text()
    assert is_ours(machine.console.read_text())
    assert machine.calls()[-2:] == ["enable hcsidecar-console", "start hcsidecar-console"]
    assert "started hcsidecar-console" in said


def test_a_second_set_up_of_the_console_does_nothing(with_console):
    with_console.set_up()
    with_console.calls()
    said = with_console.set_up()
    assert with_console.calls() == []
    assert said[0] == f"{with_console.drop_in} is right already"
    assert (with_console.bin / "useradd-calls").read_text().count("\n") == 1


def test_a_running_daemon_takes_the_consoles_group_with_a_restart_and_says_so(with_console):
    machine = with_console
    machine.install()
    machine.calls()
    said = machine.set_up()
    assert "hcsidecar runs already: systemctl restart hcsidecar applies the new unit" in said
    assert machine.calls()[0] == "daemon-reload"


def test_what_a_package_brought_for_the_console_is_not_written_again(with_console):
    packaged = with_console.root / "lib/systemd/system/hcsidecar.service.d/console.conf"
    packaged.parent.mkdir(parents=True)
    packaged.write_text(shipped_unit("hcsidecar-console.conf"))
    said = []
    assert with_console.setup(said).install() is False
    assert said[-1] == f"{packaged} is right already"
    assert not with_console.drop_in.exists()


def test_a_user_that_cannot_be_made_is_told_and_nothing_is_written(with_console):
    (with_console.bin / "useradd-fails").touch()
    with pytest.raises(ServiceError, match="cannot lock /etc/passwd"):
        with_console.set_up()
    assert not with_console.drop_in.exists()
    (with_console.bin / "useradd-fails").unlink()
    assert "made the user hcsidecar-console" in with_console.set_up()


def test_undoing_it_removes_all_but_the_user(with_console):
    machine = with_console
    machine.set_up()
    said = []
    machine.service(said, name="hcsidecar-console").uninstall(force=False)
    machine.service(said).uninstall(force=False)
    machine.setup(said).uninstall()
    assert not machine.console.exists()
    assert not machine.drop_in.parent.exists()
    assert said[-1] == "stays: the user hcsidecar-console; userdel hcsidecar-console removes it"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd, which make test installs")
def test_the_consoles_unit_is_harder_than_the_daemons(with_console):
    machine = with_console
    machine.service([], name="hcsidecar-console").install(
        console_unit(wish(program="/bin/true")), start=True, force=False
    )
    judged = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", machine.console],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-200:]
