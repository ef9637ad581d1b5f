"""Looks for secrets in the operator's files that travel with the settings."""

from collections.abc import Iterator

from hcsidecar.core.settings.named_files import named_files, whole_directories
from hcsidecar.core.settings.secret_files import BEGINNING, why_secret
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.settings.farm_directory import FarmDirectory, RefusedError


def secrets_that_travel(loaded: LoadedFarm) -> Iterator[str]:
    """Give a sentence for each file beside the scripts of a farm that looks like a secret. Waits for the disk.

    What cannot be read is passed over: `apply` refuses it.
    """
    directory = FarmDirectory.of(loaded)
    for name in directory.walk(whole_directories(named_files(loaded.farm.parts).values())):
        if isinstance(name, RefusedError):
            continue
        try:
            found = directory.read(name, most=BEGINNING)
        except RefusedError:
            continue
        why = why_secret(name, mode=found.status.st_mode, beginning=found.content)
        if why is not None:
            yield (
                f"{name} looks like a secret ({why}), and travels with the settings to every node, where `hcsidecar"
                " diff` shows it: move it out of the directories of scripts, and name it with an absolute path"
            )
