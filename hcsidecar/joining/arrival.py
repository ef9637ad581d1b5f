"""What a new server writes: the files of the farm's settings and its secrets, all of them or none.

A server that was a node before has files that are in the way. They are set aside if its operator says so.
"""

import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable, read
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.joining.messages import Handout, JoinFile, JoinPlan
from hcsidecar.core.settings.revision import FARM_FILE, name_problem
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.dirs import SETTINGS, STATE, state_dir
from hcsidecar.joining.issuer import JoinError
from hcsidecar.joining.setting_aside import SetAside
from hcsidecar.settings.candidate import check_here
from hcsidecar.settings.operator_files import NodeRevisions, find_revisions
from hcsidecar.settings.store import CURRENT
from hcsidecar.system.private_file import place_file

_KEY_FILE: Final = "farm.key_file"
_FRESH: Final = "add --fresh to set it aside"


class Arrival:
    """The files of a farm that this server, as the node `node`, is about to have.

    `config` is where its farm file is to be. With `fresh`, what an earlier node has left here is set aside.
    """

    def __init__(self, config: Path, plan: JoinPlan, *, node: str, fresh: bool = False) -> None:
        self.config = config.absolute()
        self.directory = self.config.parent
        self.key_file = self.directory / plan.key_file
        self.authority = AuthorityFiles.beside(self.key_file)
        self.farm = _farm_in(_text_in(plan))
        "None if the farm file that came is wrong."
        self.set_aside: Mapping[Path, Path] = {}
        "What `write` has set aside, and where it is now."
        self._node = node
        self._plan = plan
        self._fresh = fresh
        wrong = [why for file in plan.files if (why := _why_not_a_name(file.name))]
        if wrong:
            raise JoinError(f"the node sends files that cannot be: {'; '.join(wrong)}")

    @property
    def secrets(self) -> tuple[Path, ...]:
        """The files that the farm hands over only to a node of its own."""
        return (self.key_file, self.authority.certificate, self.authority.key)

    @property
    def earlier(self) -> tuple[NodeRevisions, ...]:
        """The settings that this server has as an earlier node: by them its daemon would start, not by the new file."""
        texts = [self._text_here, self._text]
        found = {each.directory: each for text in texts for each in find_revisions(self.config, text)}
        if self.farm is not None and any(node.name == self._node for node in self.farm.node):
            directory = state_dir(self.farm, self.farm.node_named(self._node)) / SETTINGS
            if os.path.exists(directory / CURRENT):  # noqa: PTH110 - it tells nothing of what this user may not see
                found.setdefault(directory, NodeRevisions(node=self._node, directory=directory))
        return tuple(found.values())

    def why_not(self) -> tuple[str, ...]:
        """Return everything that keeps this server from being this node, as `check-config` tells it."""
        problems = [] if self._fresh else list(self._in_the_way())
        made: list[Path] = []
        try:
            _make_directories(self.directory, made)
            staged = Path(tempfile.mkdtemp(dir=self.directory, prefix=".joining-"))
        except OSError as error:
            _remove_directories(made)
            return (*problems, f"{error.filename or self.directory} cannot be written: {error.strerror}")
        try:
            for file in self._plan.files:
                _write(staged / file.name, file)
            me = NodeTable.model_construct(name=self._node, addresses={})
            found = check_here(staged, me, farm_directory=self.directory)
        except OSError as error:
            return (*problems, f"{error.filename or staged} cannot be written: {error.strerror}")
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            _remove_directories(made)
        return (*problems, *map(str, self._without_what_comes_later(found)))

    def _without_what_comes_later(self, problems: Sequence[Problem]) -> Iterator[Problem]:
        for problem in problems:
            if problem.path != _KEY_FILE or self.key_file.exists():
                yield problem

    def _in_the_way(self) -> Iterator[str]:
        """Give the files that are there already and are others than those of this farm."""
        for file in self._plan.files:
            path = self._place(file)
            if path.exists() and _content(path) != file.content:
                yield (
                    f"{path} is there already, and is not that of farm {self._plan.farm} now: {_FRESH}, or use --config"
                )
        if self._plan.digest:
            for path in self.secrets:
                if path.exists():
                    yield f"{path} is there already, of an earlier node or another farm: {_FRESH}, or use --config"
        for each in self.earlier:
            yield f"{each.directory} has the settings of an earlier node {each.node}, by which it would go on: {_FRESH}"

    def write(self, delivery: Handout) -> tuple[Path, ...]:
        """Write all files, the farm file last, and return those that were made.

        Raise JoinError if one cannot be written; then none of them is left, and what was here is here again.
        """
        key, certificate, authority_key = delivery.key_file, delivery.certificate, delivery.authority_key
        files = sorted(delivery.files, key=lambda file: file.name == FARM_FILE)
        wrong = [why for file in files if (why := _why_not_a_name(file.name))]
        if wrong:
            raise JoinError(f"the node sends files that cannot be: {'; '.join(wrong)}")
        wanted: dict[Path, tuple[bytes, int]] = {
            self.key_file: (key, 0o600),
            self.authority.key: (authority_key, 0o600),
            self.authority.certificate: (certificate, 0o644),
        }
        wanted |= {self._place(file): (file.content, 0o755 if file.executable else 0o644) for file in files}
        made: list[Path] = []
        directories: list[Path] = []
        aside = SetAside()
        try:
            for path in self._earlier_state() if self._fresh else ():
                if os.path.lexists(path):
                    aside.move(path)
            for path, (content, mode) in wanted.items():
                _make_directories(path.parent, directories)
                if path.exists() and _content(path) == content:
                    continue
                if self._fresh and os.path.lexists(path):
                    aside.move(path)
                place_file(path, content, replace=False, mode=mode)
                made.append(path)
        except OSError as error:
            for path in made:
                with suppress(OSError):
                    path.unlink()
            _remove_directories(directories)
            aside.undo()
            where = error.filename2 or error.filename or self.directory
            raise JoinError(f"{where}: {error.strerror}; nothing is left of what was written") from None
        self.set_aside = dict(aside.moved)
        return tuple(made)

    def _earlier_state(self) -> Iterator[Path]:
        """Give what an earlier node would go on by; with its last word, a removed one would start no application."""
        for each in self.earlier:
            yield each.directory
            yield each.directory.with_name(STATE)

    @property
    def earlier_farm(self) -> FarmFile | None:
        """The farm of the farm file that is here already; None if there is none, or it is wrong."""
        return _farm_in(self._text_here)

    @property
    def _text_here(self) -> str:
        return (_content(self.config) or b"").decode(errors="replace")

    @property
    def _text(self) -> str:
        """The farm file that came."""
        return _text_in(self._plan)

    def _place(self, file: JoinFile) -> Path:
        return self.config if file.name == FARM_FILE else self.directory / file.name


def _text_in(plan: JoinPlan) -> str:
    return next((file.content.decode(errors="replace") for file in plan.files if file.name == FARM_FILE), "")


def _farm_in(text: str) -> FarmFile | None:
    try:
        found = read(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return None
    return found if isinstance(found, FarmFile) else None


def _why_not_a_name(name: str) -> str | None:
    why = None if name == FARM_FILE else name_problem(name)
    return None if why is None else f"{name!r} {why}"


def _write(path: Path, file: JoinFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    path.chmod(0o755 if file.executable else 0o644)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _make_directories(path: Path, made: list[Path]) -> None:
    """Make a directory with those above it, and add each to `made`, the deepest last. Raise OSError."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir(mode=0o755)
            made.append(each)


def _remove_directories(made: Sequence[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir()


def addresses_wanted(words: Sequence[str], *, default: str, fallback: str) -> Mapping[str, str]:
    """Return the address on each network that an operator names: ADDRESS, or NETWORK=ADDRESS for each network."""
    if not words:
        return {default: fallback}
    pairs = [word.partition("=") for word in words]
    return {network if mark else default: address if mark else network for network, mark, address in pairs}
