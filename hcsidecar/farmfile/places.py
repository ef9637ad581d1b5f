"""Where the files are that a farm file names: beside it, but for a candidate, which has only what travels with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hcsidecar.core.settings.named_files import travelling_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Two directories from which relative names lead on."""

    bundle: Path
    "Has the farm file and what travels with it."
    machine: Path
    "Has what each machine has for itself: the key file, certificates, and what is named with `..`."

    @classmethod
    def beside(cls, farm_file: Path, *, machine: Path | None = None) -> Self:
        """Return the places of a farm file; `machine` is given for a candidate."""
        return cls(bundle=farm_file.parent, machine=farm_file.parent if machine is None else machine)

    def program(self, name: str) -> Path:
        """Return where a script or another program is."""
        return (self.bundle if travelling_name(name) is not None else self.machine) / name

    def working_directory(self, name: str) -> Path:
        """Return where a directory is in which programs run; a bundle has those that hold files of it."""
        inside = self.bundle / name
        return inside if travelling_name(name) is not None and inside.is_dir() else self.machine / name
