"""Reads a SafeKit module as a userconfig.xml, a directory or a .safe archive, which may come from anybody.

Nothing is unpacked: what is needed is read into memory within limits, and its names are checked first.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hcsidecar.core.safekit.source import SafekitModule
from hcsidecar.core.why_not import WhyNot
from hcsidecar.safekit.xml import ModuleError, read_xml

__all__ = ["ModuleError", "read_module", "read_uploaded"]

CONFIGURATION = "conf/userconfig.xml"
MAX_FILES = 2000
MAX_FILE = 16 * 1_048_576
"Bytes of one file."
MAX_TOTAL = 64 * 1_048_576
"Bytes of everything that is read."


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may have."""

    archive: int
    "Bytes of the archive; SafeKit's own have some tens of kilobytes."
    files: int
    total: int
    "Bytes of all files when they are unpacked."


ON_DISK = ArchiveLimits(archive=64 * 1_048_576, files=MAX_FILES, total=MAX_TOTAL)
UPLOADED = ArchiveLimits(archive=4 * 1_048_576, files=200, total=8 * 1_048_576)
"What somebody sends to the console, whose memory is small."
MAX_RATIO = 200
"A file that is this many times bigger than in the archive was made to exhaust memory."
SMALL = 1_048_576
"Bytes that any file may have, however well it is compressed."
MAX_NAME = 255
"Characters of a path in a module."

_ARCHIVE = b"PK"
"The first bytes of an archive."
_ENTRY = b"PK\x01\x02"
"The first bytes of every entry in the directory of an archive."
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WRONG_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    ValueError,
)
"The errors that zipfile raises for a faulty archive."


def read_module(path: Path) -> SafekitModule:
    """Return the module at a path. Raise ModuleError, in words for its owner, if it cannot be read."""
    path = path.absolute()
    try:
        if path.is_dir():
            return _from_directory(path)
        if not path.exists():
            raise ModuleError(
                str(path), "is not there", "a userconfig.xml, the directory of a module, or a .safe archive"
            )
        if not path.is_file():
            raise ModuleError(str(path), "is neither a file nor a directory")
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(_ARCHIVE):
            if path.stat().st_size > ON_DISK.archive:
                raise ModuleError(str(path), f"is bigger than {ON_DISK.archive} bytes", "is it a module?")
            return _from_archive(path.read_bytes(), str(path), path.stem, ON_DISK)
        if path.suffix.lower() == ".safe":
            raise ModuleError(str(path), "is not an archive", "a .safe file is a zip archive")
        if path.parent.name == "conf" and (path.parent.parent / "bin").is_dir():
            return _from_directory(path.parent.parent, configuration=path)
        name = path.parent.parent.name if path.parent.name == "conf" else path.parent.name
        return SafekitModule(name=name, root=read_xml(_read_file(path), str(path)), scripts=None)
    except OSError as error:
        raise ModuleError(str(error.filename or path), f"cannot be read: {error.strerror or error}") from None


def read_uploaded(name: str, content: bytes) -> SafekitModule:
    """Return the module in a file that somebody has sent; `name` is what he calls it. Raise ModuleError."""
    shown = name.replace("\\", "/").rpartition("/")[2][:MAX_NAME] or "module"
    stem = shown.rpartition(".")[0] or shown
    if len(content) > UPLOADED.archive:
        raise ModuleError(shown, f"is bigger than {UPLOADED.archive} bytes", "is it a module?")
    if content.startswith(_ARCHIVE):
        return _from_archive(content, shown, stem, UPLOADED)
    if shown.lower().endswith(".safe"):
        raise ModuleError(shown, "is not an archive", "a .safe file is a zip archive")
    return SafekitModule(name=stem, root=read_xml(content, shown), scripts=None)


def _read_file(path: Path) -> bytes:
    if stat.S_ISLNK(path.lstat().st_mode):
        raise ModuleError(str(path), "is a symbolic link", "put what it leads to in its place")
    if not path.is_file():
        raise ModuleError(str(path), "is not a plain file", "a module has only files and directories")
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ModuleError(str(path), f"is bigger than {MAX_FILE} bytes")
    return content


def _from_directory(directory: Path, *, configuration: Path | None = None) -> SafekitModule:
    configuration = configuration or directory / CONFIGURATION
    if not configuration.exists() and not configuration.is_symlink():
        raise ModuleError(str(directory), f"has no {CONFIGURATION}", "name the directory of a module")
    names = list(_walk(directory))
    _judge_names(names, str(directory))
    root = read_xml(_read_file(configuration), str(configuration))
    scripts, others, total = {}, [], 0
    for name in sorted(names):
        if name.startswith("bin/"):
            content = _read_file(directory / name)
            total += len(content)
            if total > MAX_TOTAL:
                raise ModuleError(str(directory), f"has more than {MAX_TOTAL} bytes in bin/")
            scripts[name.removeprefix("bin/")] = content
        elif directory / name != configuration:
            others.append(name)
    return SafekitModule(name=directory.resolve().name, root=root, scripts=scripts, others=others)


def _walk(directory: Path) -> Iterator[str]:
    """Yield the paths of all files below a directory, with slashes; symbolic links are not followed."""
    waiting, count = [directory], 0
    while waiting:
        for entry in waiting.pop().iterdir():
            count += 1
            if count > MAX_FILES:
                raise ModuleError(
                    str(directory), f"has more than {MAX_FILES} files", "is it the directory of a module?"
                )
            if entry.is_dir() and not entry.is_symlink():
                waiting.append(entry)
            else:
                yield entry.relative_to(directory).as_posix()


def _from_archive(content: bytes, place: str, name: str, limits: ArchiveLimits) -> SafekitModule:
    """Return the module `name` in an archive of `limits.archive` bytes at most, which messages call `place`."""
    # zipfile makes an object of every entry before anybody can count them.
    if content.count(_ENTRY) > limits.files:
        raise ModuleError(place, f"has more than {limits.files} files", "is it a module?")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _unpacked(archive, place, name, limits)
    except _WRONG_ARCHIVE as error:
        raise ModuleError(place, f"is a broken archive: {error}", "unzip -t says more; fetch it again") from None


def _unpacked(archive: zipfile.ZipFile, place: str, name: str, limits: ArchiveLimits) -> SafekitModule:
    names = [entry.filename for entry in archive.infolist()]
    _judge_names([name.removesuffix("/") for name in names], place)
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    for entry in entries:
        if why := _why_not(entry):
            raise ModuleError(f"{place}, {entry.filename!a}", why.problem, why.remedy)
    if sum(entry.file_size for entry in entries) > limits.total:
        raise ModuleError(place, f"has more than {limits.total} bytes when it is unpacked", "is it a module?")
    top = _top_of(names, place)
    contents = {entry.filename.removeprefix(top): entry for entry in entries if entry.filename.startswith(top)}
    root = read_xml(_content(archive, contents[CONFIGURATION], place), f"{place}, {top}{CONFIGURATION}")
    scripts = {
        path.removeprefix("bin/"): _content(archive, entry, place)
        for path, entry in sorted(contents.items())
        if path.startswith("bin/")
    }
    others = [path for path in sorted(contents) if path != CONFIGURATION and not path.startswith("bin/")]
    others += sorted(entry.filename for entry in entries if not entry.filename.startswith(top))
    return SafekitModule(name=name, root=root, scripts=scripts, others=others)


def _top_of(names: Iterable[str], place: str) -> str:
    """Return the directory of the archive that contains the module, with its slash; usually there is none."""
    found = [name.removesuffix(CONFIGURATION) for name in names if f"/{name}".endswith(f"/{CONFIGURATION}")]
    found = [top for top in found if top.count("/") <= 1]
    if len(found) != 1:
        message = f"has several {CONFIGURATION}" if found else f"has no {CONFIGURATION}"
        raise ModuleError(place, message, "is it a module of SafeKit?")
    return found[0]


def _why_not(entry: zipfile.ZipInfo) -> WhyNot | None:
    """Return why a file of an archive is not read, None if it may be."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return WhyNot("is a symbolic link", "put what it leads to in its place")
    if kind not in (0, stat.S_IFREG):
        return WhyNot("is not a plain file", "a module has only files and directories")
    if entry.flag_bits & 1:
        return WhyNot("is encrypted", "unpack it, and import the directory")
    if entry.compress_type not in _METHODS:
        return WhyNot("is compressed in a way that modules are not", "unpack it, and import the directory")
    if entry.file_size > MAX_FILE:
        return WhyNot(f"is bigger than {MAX_FILE} bytes", "is it a module?")
    if entry.file_size > SMALL and entry.file_size > MAX_RATIO * entry.compress_size:
        return WhyNot(f"is more than {MAX_RATIO} times as big as in the archive", "it was made to fill a disk")
    return None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str) -> bytes:
    with archive.open(entry) as file:
        # The size that the entry claims may be wrong.
        content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise ModuleError(f"{place}, {entry.filename!a}", "is of another size than the archive says", "fetch it again")
    return content


def _judge_names(names: Iterable[str], place: str) -> None:
    """Raise ModuleError for paths that lead elsewhere, or to the same place on some file systems."""
    seen: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if (why := _why_no_name(name, parts)) is not None:
            raise ModuleError(place, f"has a file whose name {why}: {name[:MAX_NAME]!a}", "rename it, or leave it out")
        key = "/".join(parts).casefold()
        if key in seen:
            raise ModuleError(place, f"has two files of one name: {name!a} and {seen[key]!a}", "leave one out")
        seen[key] = name


def _why_no_name(name: str, parts: tuple[str, ...]) -> str | None:
    if not name or len(name) > MAX_NAME:
        return "is empty or too long"
    if not name.isprintable():
        return "is not printable"
    if "\\" in name or name.startswith("/") or name[1:2] == ":":
        return "leads out of the module"
    if ".." in parts or name != "/".join(parts):
        return "leads out of the module"
    return None
