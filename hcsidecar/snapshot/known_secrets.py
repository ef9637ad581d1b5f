"""Finds the secrets of a node on its machine, so that they can be hidden wherever they stand."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hcsidecar.core.settings.differences import secrets_of
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.core.snapshot_secrets import (
    files_of_secrets,
    secrets_in_environment,
    secrets_in_farm_file,
    secrets_in_key_file,
    secrets_in_private_file,
)
from hcsidecar.farmfile.certificate_files import node_certificate
from hcsidecar.snapshot.reading import file_text, names_in
from hcsidecar.snapshot.where import Where, daemons_here

_LARGEST: Final = 1_048_576
"Bytes of a file with secrets."
_MOST_FILES: Final = 200
_KEY_NAMED: Final = re.compile(r"^\s*(?:key|key_file)\s*=\s*[\"']([^\"'\n]+)[\"']", re.MULTILINE)
_PRIVATE_NAME: Final = re.compile(r"users|token|passw|secret|credential|\.key$|\.pem$|\.key\.", re.IGNORECASE)


def known_secrets(where: Where, environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the secrets that this user may read; what he may not read cannot get into his snapshot by itself."""
    found = set(secrets_of(where.farm)) if where.farm is not None else set()
    texts = list(_farm_texts(where))
    variables = [environment, *map(_environment, daemons_here())]
    variables += [where.farm.application.environment] if where.farm and where.farm.application else []
    for text in texts:
        found |= secrets_in_farm_file(text)
    for each in variables:
        found |= secrets_in_environment(each)
    named = [where.config.parent / name for text in texts for name in _KEY_NAMED.findall(text) if "\0" not in name]
    named += [Path(name) for each in variables for name in files_of_secrets(each)]
    # Of a variable of which only the text of a broken farm file tells.
    named += [Path(value) for value in found if value.startswith("/") and "\n" not in value and "\0" not in value]
    for path in dict.fromkeys([where.config.parent / "farm.key", *named, *_private_files(where)]):
        with suppress(OSError, ValueError):
            text = file_text(path, most=_LARGEST)
            found |= secrets_in_key_file(text) | secrets_in_private_file(text)
    # The name of a file with a password is no secret, and pieces of it are in other names.
    return frozenset(value for value in found if not (value.startswith("/") and _is_file(value)))


def _is_file(value: str) -> bool:
    with suppress(OSError, ValueError):
        return Path(value).is_file()
    return False


def _farm_texts(where: Where) -> Iterator[str]:
    """Yield the farm file, and those of the revisions that are kept."""
    paths = [where.config]
    if where.state_dir is not None:
        settings = where.state_dir / "settings"
        paths += [settings / name / "files" / FARM_FILE for name in names_in(settings)[:_MOST_FILES]]
    for path in paths:
        with suppress(OSError):
            yield file_text(path)


def _private_files(where: Where) -> list[Path]:
    """Return the files beside the farm file and in the state directory whose names say that they are private."""
    directories = [where.config.parent, *([where.state_dir] if where.state_dir else [])]
    files = [
        directory / name for directory in directories for name in names_in(directory) if _PRIVATE_NAME.search(name)
    ]
    files += [node_certificate(where.state_dir)] if where.state_dir else []
    return files[-_MOST_FILES:]


def _environment(process: int) -> dict[str, str]:
    """Return the environment of a process; nothing if this user may not read it."""
    with suppress(OSError):
        pairs = file_text(f"/proc/{process}/environ", most=_LARGEST).split("\0")
        return {name: value for name, mark, value in (pair.partition("=") for pair in pairs) if mark}
    return {}
