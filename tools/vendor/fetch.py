"""Fetch the libraries of the console's pages from npm, as packages.toml pins them, and bundle the editor.

Only who changes a version runs this (`make vendor`): what it writes is committed. It needs the program `npm`, and runs
no script of a package. Each directory that it writes into gets LICENSES.txt, with name, version and license of all that
is in it, and SHA256SUMS, which `sha256sum --check` reads.
"""

import base64
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUNDLE = ROOT / "hcsidecar/console/static/vendor/codemirror.js"
ENTRY = HERE / "codemirror.js"
_PROCESSORS = {"x86_64": "@esbuild/linux-x64", "aarch64": "@esbuild/linux-arm64"}


def main() -> None:
    """Write all files anew."""
    pins = tomllib.loads((HERE / "packages.toml").read_text())
    bundler = _PROCESSORS.get(platform.machine())
    if sys.platform != "linux" or bundler is None:
        sys.exit("the bundler is pinned for Linux on x86_64 and aarch64: add another to tools/vendor/packages.toml")
    if shutil.which("npm") is None:
        sys.exit("npm is missing; on Debian, as root: apt-get install npm")
    wanted = [*pins["copied"], *pins["bundled"], *[pin for pin in pins["bundler"] if pin["name"] == bundler]]
    with tempfile.TemporaryDirectory() as directory:
        modules = Path(directory) / "node_modules"
        for pin, archive in _fetched(wanted, Path(directory)):
            _unpack(archive, modules / pin["name"])
        written = _copied(pins["copied"], modules)
        _bundle(pins["bundled"], Path(directory), modules / bundler / "bin/esbuild")
        written[BUNDLE.parent] += pins["bundled"]
        for target, inside in written.items():
            _list(target, inside, modules)


def _fetched(pins: list[dict[str, Any]], directory: Path) -> list[tuple[dict[str, Any], Path]]:
    """Return each package with its archive. End the program if one is not what its pin says."""
    names = [f"{pin['name']}@{pin['version']}" for pin in pins]
    done = subprocess.run(["npm", "pack", "--json", *names], cwd=directory, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("npm could not fetch the packages: it has said why above")
    # npm 12 gives an object by name, older ones a list.
    told = json.loads(done.stdout)
    by_name = {each["name"]: each["filename"] for each in (told.values() if isinstance(told, dict) else told)}
    archives = [(pin, directory / by_name[pin["name"]]) for pin in pins]
    wrong = []
    for pin, archive in archives:
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if pin["integrity"] != f"sha512-{digest}":
            wrong.append(f"{pin['name']} {pin['version']} is not what packages.toml pins: it has sha512-{digest}")
    if wrong:
        sys.exit("\n".join([*wrong, "If you have changed the version on purpose, write the hash into packages.toml."]))
    return archives


def _unpack(archive: Path, target: Path) -> None:
    """Unpack a package, whose files npm has below one directory of any name."""
    scratch = target.with_name(f"{target.name}.unpacked")
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    [top] = scratch.iterdir()
    top.rename(target)
    scratch.rmdir()


def _copied(pins: list[dict[str, Any]], modules: Path) -> defaultdict[Path, list[dict[str, Any]]]:
    """Copy files as they are. Return the packages by the directory where files of them are now, which has no others."""
    written: defaultdict[Path, list[dict[str, Any]]] = defaultdict(list)
    for pin in pins:
        for target in {(ROOT / target).parent for target in pin["files"].values()}:
            written[target].append(pin)
    for target in written:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    for pin in pins:
        for source, copy in pin["files"].items():
            # Maps of sources are not shipped, and a browser's tools would ask for them.
            lines = (modules / pin["name"] / source).read_text().splitlines()
            kept = [line for line in lines if not line.startswith("//# sourceMappingURL=")]
            (ROOT / copy).write_text("\n".join(kept) + "\n")
    return written


def _bundle(pins: list[dict[str, Any]], directory: Path, esbuild: Path) -> None:
    """Make the editor. End the program if a package is pinned for it that is not in it."""
    shutil.copy(ENTRY, directory)
    made_of = hashlib.sha256(ENTRY.read_bytes()).hexdigest()
    banner = f"/* CodeMirror 6, made by `make vendor` from tools/vendor/codemirror.js ({made_of}). See LICENSES.txt. */"
    settings = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--legal-comments=none", "--charset=utf8"]
    more = [f"--banner:js={banner}", f"--outfile={BUNDLE}", "--metafile=meta.json", "--log-level=warning"]
    subprocess.run([esbuild, "codemirror.js", *settings, *more], cwd=directory, check=True)
    [output] = json.loads((directory / "meta.json").read_text())["outputs"].values()
    used = [path for path, input_ in output["inputs"].items() if input_["bytesInOutput"]]
    idle = [pin["name"] for pin in pins if not any(path.startswith(f"node_modules/{pin['name']}/") for path in used)]
    if idle:
        sys.exit(f"the editor has nothing of {', '.join(idle)}: take them out of packages.toml")


def _list(target: Path, pins: list[dict[str, Any]], modules: Path) -> None:
    """Write the licenses of the packages in a directory, and the hashes of its files."""
    licenses = []
    for pin in sorted(pins, key=lambda pin: pin["name"]):
        files = sorted((modules / pin["name"]).glob("LICENSE*"))
        if not files:
            sys.exit(f"{pin['name']} has no license text: look for it, and do not ship the package without it")
        texts = "\n\n".join(file.read_text().strip() for file in files)
        licenses.append(f"{'=' * 78}\n{pin['name']} {pin['version']}\n{'=' * 78}\n\n{texts}\n")
    (target / "LICENSES.txt").write_text("\n".join(licenses))
    files = sorted(path for path in target.iterdir() if path.name != "SHA256SUMS")
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (target / "SHA256SUMS").write_text(sums)


if __name__ == "__main__":
    main()
