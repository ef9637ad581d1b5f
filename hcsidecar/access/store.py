"""The record of users and tokens on this node's disk: `access.json` in its state directory, for its user only."""

from pathlib import Path
from typing import Final

from hcsidecar.core.access.record import LARGEST_RECORD, AccessRecord, decode_record, encode_record
from hcsidecar.core.json_reading import JsonError
from hcsidecar.system.private_file import KeptFile

NAME: Final = "access.json"


class AccessStoreError(Exception):
    """The file cannot be used; the text completes a sentence that names the file."""


class AccessStore:
    """The file. Every method may wait for the disk."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._file = KeptFile(self.path)

    def load(self) -> AccessRecord | None:
        """Return the record; None if there is no file. Raise AccessStoreError if it cannot be read or is damaged."""
        try:
            with self.path.open("rb") as file:
                content = file.read(LARGEST_RECORD + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AccessStoreError(f"cannot be read: {error.strerror or error}") from None
        try:
            return decode_record(content)
        except JsonError as error:
            raise AccessStoreError(f"is damaged: {error}") from None

    def save(self, record: AccessRecord) -> None:
        """Write the record, in one step and to the disk. Raise AccessStoreError if that fails."""
        if reason := self._file.write(encode_record(record) + b"\n"):
            raise AccessStoreError(f"cannot be written: {reason}")

    def what_became(self) -> str | None:
        """Return what somebody else has done to the file since it was saved, or None."""
        return self._file.what_became()

    def set_aside(self) -> None:
        """Keep a damaged file under another name, for whoever wants to know. Raise AccessStoreError if that fails."""
        try:
            self.path.replace(self.path.with_name(f"{NAME}.damaged"))
        except OSError as error:
            raise AccessStoreError(f"cannot be renamed: {error.strerror or error}") from None
