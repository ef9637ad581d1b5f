"""Checks a draft of settings without a node: every problem at once, each with its file, key and line."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hcsidecar.core.farmfile.farm_file import FarmFile, read, right_parts
from hcsidecar.core.farmfile.key_lines import line_of
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.text import NotTomlError, document_in
from hcsidecar.core.settings.named_files import named_files
from hcsidecar.core.settings.revision import FARM_FILE, bundle_problems

_LINE: Final = re.compile(r"\bline (\d+)")


class DraftProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of a draft, with its place."""

    file: str
    "Empty for what is of the draft as a whole."
    path: str = ""
    "The key in the farm file, as `check[2].port`; empty where there is none."
    line: int | None = None
    "Its line in the file, from 1."
    message: str
    "A sentence, or the rest of one that begins with the path."
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}: " if self.line is not None else f"{self.file}: " if self.file else ""
        return f"{place}{self.path}{': ' if self.path else ''}{self.message}" + (f" ({self.hint})" if self.hint else "")


class DraftCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a draft, as far as that can be said without a node: `POST /api/v1/settings/checks`."""

    problems: tuple[DraftProblem, ...]


def check_draft(files: Mapping[str, bytes]) -> DraftCheck:
    """Return all problems of files that are to be settings of the farm; `files` by name."""
    problems = [
        DraftProblem(file="", message=message)
        for message in bundle_problems({name: len(content) for name, content in files.items()})
    ]
    content = files.get(FARM_FILE)
    if content is not None:
        problems += _farm_file_problems(content, files)
    return DraftCheck(problems=tuple(problems))


def _farm_file_problems(content: bytes, files: Mapping[str, bytes]) -> list[DraftProblem]:
    try:
        document = document_in(content)
    except NotTomlError as error:
        line = _line_in(error.message, content)
        return [DraftProblem(file=FARM_FILE, line=line, message=error.message, hint=error.hint)]
    text = content.decode()
    farm = read(document)
    told: tuple[Problem, ...] = () if isinstance(farm, FarmFile) else farm
    missing = [
        Problem(path=path, message=f"there is no file {name} in the draft", hint="add it, or name another one")
        for path, name in named_files(right_parts(document)).items()
        if name not in files
    ]
    return [
        DraftProblem(
            file=FARM_FILE,
            path=problem.path,
            line=line_of(text, problem.path),
            message=problem.message,
            hint=problem.hint,
        )
        for problem in (*told, *missing)
    ]


def _line_in(message: str, content: bytes) -> int | None:
    """Return the line that a message of the TOML parser names; None if it names none."""
    if found := _LINE.search(message):
        return int(found[1])
    return content.count(b"\n") + 1 if "end of document" in message else None
