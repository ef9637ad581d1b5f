"""How each kind of change in the record is undone."""

from pathlib import Path
from typing import assert_never

from l2mode.kernel import addresses, queue_rules, sysctls, tc, xdp
from l2mode.kernel.changes import (
    AddressAdded,
    AnyChange,
    ClassifierAdded,
    FilterAttached,
    IngressTableAdded,
    QueueRulesAdded,
    RawTableAdded,
    SettingChanged,
    XdpAttached,
)
from l2mode.kernel.record import Record, TellOperator


def open_record(directory: Path, *, tell: TellOperator) -> Record:
    """Return the record in a node's state directory, which must exist; `tell` takes what is undone, and failures."""
    return Record(directory, undo=undo, tell=tell)


def undo(change: AnyChange) -> str | None:
    """Undo one change and return a sentence about it; None if it was undone already. Raise OSError if refused."""
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
        case QueueRulesAdded():
            return queue_rules.remove_queue_rules(change)
        case RawTableAdded():
            return queue_rules.remove_raw_table(change)
        case IngressTableAdded():
            return queue_rules.remove_ingress_table(change)
        case _:
            assert_never(change)
