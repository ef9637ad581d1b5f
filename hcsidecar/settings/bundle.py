"""Reads a bundle from the operator's directory."""

from collections.abc import Mapping
from dataclasses import dataclass

from hcsidecar.core.settings.named_files import named_files, whole_directories
from hcsidecar.core.settings.revision import FARM_FILE, MAX_BYTES, MAX_FILES, BundleError, bundle_problems
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.settings.farm_directory import FarmDirectory, NoFileError, RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The content of files, by their names in the bundle, and which of them may be executed: see Manifest.of."""

    contents: Mapping[str, bytes]
    executable: frozenset[str]


def read_bundle(loaded: LoadedFarm, directory: FarmDirectory) -> Bundle:
    """Return what belongs to the bundle of this farm, as it is now. Raise BundleError with every problem at once.

    The farm file is the text that was loaded, and each other file is read once, so that what is read is what others
    get. Waits for the disk. A file that is named and not there is missing in the bundle: the check of a candidate tells
    it, or a daemon that may start without.
    """
    named = named_files(loaded.farm.parts)
    reading = _Reading(directory, loaded.text.encode())
    for place, name in named.items():
        reading.take_named(place, name)
    for found in directory.walk(whole_directories(named.values())):
        if isinstance(found, RefusedError):
            reading.problems.append(str(found))
        else:
            reading.take(found)
    return reading.result()


class _Reading:
    """What has been read so far, within the limits of a bundle."""

    def __init__(self, directory: FarmDirectory, farm_file: bytes) -> None:
        self._directory = directory
        self._contents = {FARM_FILE: farm_file}
        self._executable: set[str] = set()
        self._left = MAX_BYTES - len(farm_file)
        self._too_many = False
        self.problems: list[str] = []

    def take_named(self, place: str, name: str) -> None:
        if name == FARM_FILE:
            self.problems.append(f"{place} is {name}: that is the name of the farm file, name the script differently")
        else:
            self.take(name)

    def take(self, name: str) -> None:
        if name in self._contents or self._too_many or self._left < 0:
            return
        if len(self._contents) == MAX_FILES:
            self._too_many = True
            self.problems.append(
                f"there are more than {MAX_FILES} files in it: move what is no script out of the directories of scripts"
            )
            return
        try:
            found = self._directory.read(name, most=self._left)
        except NoFileError:
            return
        except RefusedError as error:
            self.problems.append(str(error))
            return
        self._contents[name] = found.content
        self._executable |= {name} if found.executable else set()
        self._left -= len(found.content)
        if self._left < 0:
            self.problems.append(f"with {name} there are more than {MAX_BYTES} bytes in it: make it smaller")

    def result(self) -> Bundle:
        sizes = {name: len(content) for name, content in self._contents.items()} if self._left >= 0 else {FARM_FILE: 0}
        problems = [*self.problems, *bundle_problems(sizes)]
        if problems:
            raise BundleError(*dict.fromkeys(problems))
        return Bundle(contents=self._contents, executable=frozenset(self._executable))
