"""How each kind of change is undone: the record's other half."""

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
        case QueueRulesAdded():
            return queue_rules.remove_queue_rules(change)
        case RawTableAdded():
            return queue_rules.remove_raw_table(change)
        case IngressTableAdded():
            return queue_rules.remove_ingress_table(change)
        case _:
            assert_never(change)
