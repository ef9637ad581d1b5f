"""Stock kernels of Debian as its packages, fetched once and kept: not installed, only unpacked.

Packages come from where this machine has its own from, out of other releases of Debian; the lists of packages are kept
apart, so this machine's apt does not know of them.

    python -m vm.kernels 5.10 6.1 6.1-plain 6.12 newest
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class FetchError(Exception):
    """A kernel could not be fetched or unpacked; the text is what the program said that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a kernel is found: the newest that a release of Debian has."""

    suites: tuple[str, ...]
    "`-security` is looked for at the archive of security updates."
    package: str = "linux-image-cloud-amd64"
    "The package that depends on the newest."


SOURCES = {
    "5.10": Source(suites=("bullseye", "bullseye-security")),
    "6.1": Source(suites=("bookworm", "bookworm-security")),
    "6.1-plain": Source(suites=("bookworm", "bookworm-security"), package="linux-image-amd64"),
    "6.12": Source(suites=("trixie", "trixie-security")),
    "newest": Source(suites=("sid",)),
}
"The kernels of the lab, by the name that a person gives them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel on this machine's disk."""

    name: str
    release: str
    "As `uname -r` says it there."
    image: Path
    modules: Path
    "The directory lib/modules/RELEASE, with the lists of depmod."
    config: Path

    @property
    def root(self):
        """The directory that `modprobe --dirname` takes."""
        return self.modules.parents[2]


def cache():
    """Where the lab keeps what takes long to make; everything in it can be made anew."""
    named = os.environ.get("HCSIDECAR_VM_CACHE")
    directory = Path(named) if named else Path.home() / ".cache/hcsidecar-vm"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def made_once(directory, make):
    """Give a directory that `make(unfinished)` fills; nobody sees an unfinished one, and two do not make the same."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{directory}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            unfinished = Path(f"{directory}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(directory)
    yield directory


def kernel(name):
    """Give a kernel by its name in `SOURCES`, fetched the first time."""
    with made_once(cache() / "kernels" / name, lambda directory: _fetch(SOURCES[name], directory)) as directory:
        [image] = directory.glob("boot/vmlinuz-*")
        release = image.name.removeprefix("vmlinuz-")
        return Kernel(
            name=name,
            release=release,
            image=image,
            modules=directory / "lib/modules" / release,
            config=directory / f"boot/config-{release}",
        )


def _fetch(source, directory):
    """Unpack the kernel's packages, and let depmod write its lists."""
    apt = directory / "apt"
    for place in ("lists/partial", "archives/partial"):
        (apt / place).mkdir(parents=True)
    archives = _archives()
    (apt / "sources.list").write_text(
        "".join(
            f"deb [signed-by={KEYS}] {archives['-security' if suite.endswith('-security') else '']} {suite} main\n"
            for suite in source.suites
        )
    )
    options = [
        f"-oDir::Etc::sourcelist={apt}/sources.list",
        "-oDir::Etc::sourceparts=-",
        f"-oDir::State::lists={apt}/lists",
        f"-oDir::Cache={apt}",
        "-oAPT::Sandbox::User=root",
    ]
    _run(["apt-get", *options, "update"], directory)
    [image] = _depends(options, source.package, "linux-image-")
    # From Debian 14 on the image and its modules are packages of their own.
    others = [name for kind in ("linux-binary-", "linux-modules-") for name in _depends(options, image, kind)]
    _run(["apt-get", *options, "download", image, *others], apt)
    for package in apt.glob("*.deb"):
        _run(["dpkg-deb", "--extract", package, directory], directory)
    shutil.rmtree(apt)
    if not (directory / "lib").exists():
        (directory / "lib").symlink_to("usr/lib")
    [release] = (path.name for path in (directory / "lib/modules").iterdir())
    if not (directory / "boot").exists():
        (directory / "boot").mkdir()
        for kind in ("vmlinuz", "config"):
            (directory / f"boot/{kind}-{release}").symlink_to(f"../usr/lib/modules/{release}/{kind}")
    _run(["depmod", "--basedir", directory, release], directory)


def _archives():
    """Find where this machine has Debian's packages from: by the end of a suite's name, "" and "-security"."""
    targets = _run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"], "/")
    found = {}
    for line in targets.splitlines():
        suite, uri = line.split()
        if re.fullmatch(r"(bookworm|trixie|forky|sid)(-security)?", suite):
            found["-security" if suite.endswith("-security") else ""] = uri
    if not {"", "-security"} <= found.keys():
        raise FetchError(f"apt on this machine knows no archive of Debian: {targets or 'nothing'}")
    return found


def _depends(options, package, beginning):
    """Name what the newest version of a package depends on, of the packages that begin so."""
    shown = _run(["apt-cache", *options, "show", "--no-all-versions", package], "/")
    line = next(line for line in shown.splitlines() if line.startswith("Depends: "))
    names = [part.split()[0] for part in re.split(r"[,|]", line.removeprefix("Depends: "))]
    return [name for name in names if name.startswith(beginning)]


def _run(command, directory):
    done = subprocess.run(
        [str(word) for word in command], cwd=directory, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise FetchError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main():
    """Fetch kernels by their names."""
    parser = argparse.ArgumentParser(prog="python -m vm.kernels", description="Fetch stock kernels of Debian.")
    parser.add_argument(
        "names", nargs="*", metavar="KERNEL", help=f"{', '.join(SOURCES)}; all of them if none is named"
    )
    for name in parser.parse_args().names or SOURCES:
        found = kernel(name)
        print(f"{name}: {found.release}, {found.image}")


if __name__ == "__main__":
    main()
