"""How each kind of change is undone: the record's other half."""

import subprocess
from pathlib import Path
from typing import assert_never

from l2mode.kernel import addresses, sysctls, tc, xdp
from l2mode.kernel.changes import (
    AddressAdded,
    AnyChange,
    ClassifierAdded,
    FilterAttached,
    RuleAdded,
    SettingChanged,
    XdpAttached,
)
from l2mode.kernel.record import Record, Tell

_PATIENCE = 10.0
"Seconds that a netfilter command may take; it waits for others that change rules at the same time."


def open_record(directory: Path, *, tell: Tell) -> Record:
    """Read the record in a node's state directory, which exists; `tell` takes what is put back, and trouble."""
    return Record(directory, undo=undo, tell=tell)


def undo(change: AnyChange) -> str | None:
    """Change one thing back and say what was done; None if it was so already. Raises OSError."""
    match change:
        case AddressAdded():
            return addresses.take_away(change)
        case SettingChanged():
            return sysctls.put_back(change)
        case FilterAttached():
            return tc.detach_filter(change)
        case ClassifierAdded():
            return tc.remove_if_empty(change)
        case XdpAttached():
            return xdp.detach_program(change)
        case RuleAdded():
            return _run(change)
        case _:
            assert_never(change)


def _run(change: RuleAdded) -> str | None:
    """Delete a rule of netfilter; a command that ends with 1 has not found it (iptables(8), nft(8))."""
    command = " ".join(change.undo)
    try:
        done = subprocess.run(change.undo, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 - the record is ours alone
    except subprocess.TimeoutExpired as error:
        raise OSError(f"`{command}` takes more than {_PATIENCE:g} s") from error
    if done.returncode > 1:
        raise OSError(f"`{command}` says: {done.stderr.decode(errors='replace').strip()}")
    return f"done: {command}" if done.returncode == 0 else None
