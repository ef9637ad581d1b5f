"""The disk of the lab's machines: a Debian 12 with the project's package and its tests.

What takes long is made once and kept: the Debian without the project, and the package. Both are known by a digest of
what goes into them, so an edit of the project makes a new disk in seconds and a new recipe makes all of it anew.
"""

import shutil
import subprocess
import tomllib
from pathlib import Path

from vm.cache import digest, kept
from vm.disks import make_ext4
from vm.kernels import cache

GUEST = Path(__file__).parent / "guest"
CHECKOUT = Path(__file__).parents[2]
PYTHON = "/usr/lib/hcsidecar/bin/python"
"The interpreter of the installed package, which sees what the package brought."
TEST_TOOLS = "/opt/test-tools"
"Where pytest and hypothesis are. `PYTHON` finds them, in processes that tests start as well."

_SUITE = "bookworm"
_PACKAGES = (
    *("systemd", "systemd-sysv", "kmod", "procps", "socat"),
    *("iproute2", "iputils-ping", "ethtool", "tcpdump", "curl"),
    *("iptables", "nftables", "bpftool", "libbpf1", "libnetfilter-queue1"),
    *("nginx-light", "python3"),
)
_TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis")
_MASKED = (
    # The disk is thrown away with the machine: nothing of it wants to be checked, mounted anew or rotated.
    *("systemd-remount-fs.service", "e2scrub_reap.service", "systemd-random-seed.service", "systemd-fsck-root.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-journal-flush.service", "systemd-journal-catalog-update.service", "systemd-update-done.service"),
    *("systemd-tmpfiles-clean.timer", "systemd-firstboot.service", "systemd-machine-id-commit.service"),
    *("systemd-sysusers.service", "ldconfig.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service"),
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "systemd-hwdb-update.service"),
    # There is no clock to set, nobody logs in, and the network is laid by the initramfs.
    *("systemd-timesyncd.service", "systemd-networkd.service", "systemd-networkd.socket", "systemd-logind.service"),
    *("systemd-user-sessions.service", "getty.target", "console-getty.service", "systemd-network-generator.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-ask-password-wall.path"),
    *("systemd-ask-password-console.path", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-mqueue.mount"),
    *("dev-hugepages.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "initctl.socket"),
    *("modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service", "modprobe@efi_pstore.service"),
    *("modprobe@loop.service", "modprobe@dm_mod.service", "systemd-initctl.socket", "systemd-pstore.service"),
)
_UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
_CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
_MEGABYTES = 1500
_TESTS = ("tests/kernel", "tests/lan", ":(glob)tests/*.py", "pyproject.toml")
"What runs in the guest: tests of the kernel, and the helpers that they use."
_PACKAGED = ("hcsidecar", "l2mode")


def image(*, exact: bool = False) -> Path:
    """Give the disk for the project as it is checked out.

    With `exact` the package is built from just these sources, which takes minutes after each edit; else its
    Python files are laid over a package that was built with the same dependencies.
    """
    base, package = _base(), _package(exact=exact)
    sources = [package, *_files("hcsidecar", "l2mode", *_TESTS)]

    def make(directory: Path) -> None:
        root = directory / "root"
        _run("cp", "-a", "--reflink=auto", base, root)
        _set_up(root)
        _install(root, package, exact=exact)
        _bring_the_tests(root)
        make_ext4(root, directory / "disk.ext4", _MEGABYTES)
        shutil.rmtree(root)

    key = digest([*sources, *sorted(GUEST.iterdir())], base.parent.name, _MASKED, exact)
    return kept("disk", key, make, most=2) / "disk.ext4"


def _base() -> Path:
    """Give the directory with a Debian that knows nothing of the project."""
    recipe = digest([], _SUITE, _PACKAGES, _UNNEEDED, _test_tools())

    def make(directory: Path) -> None:
        root = directory / "root"
        _run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, root, limit=900)
        for unneeded in _UNNEEDED:
            shutil.rmtree(root / unneeded)
            (root / unneeded).mkdir()
        _bring_test_tools(root / TEST_TOOLS[1:])

    return kept("debian", recipe, make, most=2) / "root"


def _package(*, exact: bool) -> Path:
    """Give the Debian package: of these sources, or of some that differ in Python files alone."""
    recipe = digest(_files("pyproject.toml", "tools/debian", "tools/debian-build.sh"))
    built = list(cache().glob(f"package-{recipe}-*/*.deb"))
    if built and not exact:
        return max(built, key=lambda path: path.parent.stat().st_mtime)
    sources = digest(_files("pyproject.toml", "tools", "hcsidecar", "l2mode", "config", "CHANGELOG.md", "README.md"))

    def make(directory: Path) -> None:
        _run(CHECKOUT / "tools/debian-build.sh", directory, limit=900)

    [package] = kept("package", f"{recipe}-{sources}", make, most=3).glob("*.deb")
    return package


def _set_up(root: Path) -> None:
    units = root / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for unit in ("lab-agent.service", "lab-shell.service"):
        shutil.copy(GUEST / unit, units)
    shutil.copy(GUEST / "nginx.conf", root / "etc/nginx/nginx.conf")
    shutil.copy(GUEST / "lab-script", root / "usr/local/sbin/lab-script")
    _chroot(root, "systemctl enable --quiet lab-agent lab-shell; systemctl disable --quiet nginx")
    _chroot(root, "systemctl set-default --quiet multi-user.target; mkdir -p /run/files; passwd --quiet -d root")
    (root / "lib/modules").mkdir(exist_ok=True)
    (root / "etc/fstab").write_text("")
    (root / "etc/machine-id").write_text("")
    (root / "etc/systemd/journald.conf.d").mkdir()
    (root / "etc/systemd/journald.conf.d/lab.conf").write_text(
        "[Journal]\nStorage=volatile\nSyncIntervalSec=0\nRateLimitBurst=0\n"
    )


def _bring_test_tools(target: Path) -> None:
    # By Debian's Python, as the package is built: what is compiled must fit the one in the root.
    tools = target.parent / "pip"
    _run("/usr/bin/python3", "-m", "venv", tools)
    try:
        _run(tools / "bin/pip", "--quiet", "install", "--target", target, *_test_tools(), limit=600)
    finally:
        shutil.rmtree(tools)


def _install(root: Path, package: Path, *, exact: bool) -> None:
    shutil.copy(package, root / "root/hcsidecar.deb")
    _chroot(root, "dpkg --install /root/hcsidecar.deb >/dev/null && rm /root/hcsidecar.deb")
    [site] = root.glob("usr/lib/hcsidecar/lib/python3.*/site-packages")
    (site / "test-tools.pth").write_text(f"{TEST_TOOLS}\n")
    if not exact:
        for name in _PACKAGED:
            shutil.rmtree(site / name)
        for file in _files(*_PACKAGED):
            _copy(file, site / file.relative_to(CHECKOUT))
        shutil.copy(CHECKOUT / "hcsidecar/hcsidecar.service", root / "lib/systemd/system/hcsidecar.service")
        _chroot(root, "py3compile -p hcsidecar /usr/lib/hcsidecar")


def _bring_the_tests(root: Path) -> None:
    checkout = root / "root/checkout"
    for file in _files(*_TESTS):
        _copy(file, checkout / file.relative_to(CHECKOUT))
    _chroot(root, f"{PYTHON} -m compileall -q /root/checkout/tests {TEST_TOOLS}")


def _test_tools() -> list[str]:
    """Give the requirements of pyproject.toml for what runs the tests."""
    wanted = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    return [line for line in wanted if line.split(">")[0] in _TEST_TOOLS]


def _files(*paths: str) -> list[Path]:
    """Give the files below these paths that belong to the project, committed or not."""
    # The clone may be a user's, and root runs this.
    git = ("git", "-c", "safe.directory=*", "ls-files", "-z")
    command = [*git, "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    found = (CHECKOUT / name for name in sorted(listed.split("\0")) if name)
    return [path for path in found if path.is_file()]


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _chroot(root: Path, script: str) -> None:
    _run("chroot", root, *_CLEAN, "sh", "-euc", script, limit=300)


def _run(*command: str | Path, limit: float = 120) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
