"""The netfilter rules that lead packets for the virtual IPs into a queue, recognised by their comment.

A rule in the raw table comes before connection tracking, so what the filter drops costs no entry there. Our rules stand
first in their chain, since another rule that accepts would lead past them. Without `--queue-bypass`, a queue that
nobody reads drops its packets: a killed reader opens nothing. A frame to a group MAC reaches several nodes, and is
dropped.

In flooded delivery, a rule at the ingress of the interface makes the network stack accept frames to the virtual MAC.

See iptables-extensions(8) (NFQUEUE, pkttype, comment) and nft(8) (netdev family).
"""

import errno
import json
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from l2mode.core.filters import FILTER_NAME, filter_name
from l2mode.core.settings import LayerTwoSettings
from l2mode.kernel.changes import IngressTableAdded, QueueRulesAdded, RawTableAdded
from l2mode.kernel.errors import FilterError
from l2mode.kernel.record import Record

_PATIENCE: Final = 10
"Seconds that a command may take; it waits for others that change rules at the same time."
_TOOLS: Final = {4: "iptables", 6: "ip6tables"}
_FAMILIES: Final = {"iptables": "ip", "ip6tables": "ip6"}
_NEEDS_CAPABILITIES: Final = "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
_OURS: Final = f"{FILTER_NAME}:"
_BEFORE_OTHERS: Final = -500
"Priority of the ingress chain."


class QueueRules:
    """The rules of one farm on one interface; `virtual_mac` is set in flooded delivery."""

    def __init__(
        self, settings: LayerTwoSettings, interface: str, record: Record, *, virtual_mac: bytes | None
    ) -> None:
        self.warnings: tuple[str, ...] = ()
        "What interferes with the rules, as of the last `set_up`."
        self._interface = interface
        self._record = record
        self._comment = filter_name(settings.farm)
        self._ingress_table = self._comment.replace(":", "-")
        self._vips = {
            tool: [f"{vip}/{vip.max_prefixlen}" for vip in settings.vips if vip.version == version]
            for version, tool in _TOOLS.items()
        }
        self._virtual_mac = virtual_mac

    @property
    def noted(self) -> bool:
        """True when rules of this farm were made, by this process or one before it."""
        return any(QueueRulesAdded(tool=tool, comment=self._comment) in self._record for tool in self._vips)

    def set_up(self, number: int) -> list[str]:
        """Lead packets into the queue of this number. Return what was missing. Raise FilterError if refused.

        Rules that a killed process has left are replaced in one step, so that no packet gets through in between.
        """
        try:
            return [*self._set_up_ingress(), *self._set_up_rules(number)]
        except OSError as error:
            raise _explained(error) from error

    def take_down(self) -> None:
        """Remove the rules; safe to repeat."""
        self._record.restore(QueueRulesAdded, RawTableAdded, IngressTableAdded)

    def _set_up_rules(self, number: int) -> list[str]:
        news: list[str] = []
        ahead: list[str] = []
        for tool, vips in self._vips.items():
            wanted = [rule for vip in vips for rule in _rules(vip, self._interface, self._comment, number)]
            if not wanted:
                # There may be some of former settings.
                rules = QueueRulesAdded(tool=tool, comment=self._comment)
                self._record.take_back([RawTableAdded(family=_FAMILIES[tool]), rules])
                continue
            self._note(tool)
            every = _chain(tool)
            present = _bearing(self._comment, every)
            if sorted(map(_normal, wanted)) != sorted(map(_normal, present)):
                # Each insertion goes to the top, so the last rule is inserted first.
                insertions = [f"-I PREROUTING 1 {rule}" for rule in reversed(wanted)]
                _change(tool, [*_deletions(present), *insertions])
                news.append(f"the rules of {tool} with the comment {self._comment}")
            elif present:
                ahead += [f"{tool} -t raw: {rule}" for rule in every[: every.index(present[0])] if _OURS not in rule]
        self.warnings = tuple(
            f"a rule of others comes before this filter's, and what it accepts is not shared out: {rule}"
            for rule in ahead
        )
        return news

    def _note(self, tool: str) -> None:
        raw_table = RawTableAdded(family=_FAMILIES[tool])
        rules = QueueRulesAdded(tool=tool, comment=self._comment)
        if rules in self._record:
            self._record.keep(raw_table)
        elif not _has_raw_table(tool):
            self._record.note(raw_table)
        self._record.note(rules)

    def _set_up_ingress(self) -> list[str]:
        name, mac = self._ingress_table, self._virtual_mac
        if mac is None:
            return []
        self._record.note(IngressTableAdded(name=name))
        listed = _ask(["nft", "list", "table", "netdev", name])
        if listed is not None and mac.hex(":") in listed and f'"{self._interface}"' in listed:
            return []
        _run(
            ["nft", "-f", "-"],
            f"""table netdev {name}
            delete table netdev {name}
            table netdev {name} {{
                chain ingress {{
                    type filter hook ingress device "{self._interface}" priority {_BEFORE_OTHERS};
                    ether daddr {mac.hex(":")} meta pkttype set host
                }}
            }}
            """,
        )
        return [f"the nft table {name}"]


def remove_queue_rules(change: QueueRulesAdded) -> str | None:
    """Remove the rules with our comment. Raise OSError if that is refused."""
    present = _bearing(change.comment, _chain(change.tool))
    if not present:
        return None
    _change(change.tool, _deletions(present))
    return f"the rules of {change.tool} with the comment {change.comment} are removed"


def remove_raw_table(change: RawTableAdded) -> str | None:
    """Remove the nft table that iptables created for our rules, if nobody else has put anything there."""
    listed = _ask(["nft", "-j", "list", "table", change.family, "raw"])
    if listed is None or not _is_as_iptables_makes_it(json.loads(listed)["nftables"]):
        return None
    _run(["nft", "delete", "table", change.family, "raw"])
    return f"the empty table raw of {change.family} is removed"


def remove_ingress_table(change: IngressTableAdded) -> str | None:
    """Remove the table that makes the stack take frames to the virtual MAC. Raise OSError if that is refused."""
    if _ask(["nft", "list", "table", "netdev", change.name]) is None:
        return None
    _run(["nft", "delete", "table", "netdev", change.name])
    return f"the nft table {change.name} is removed"


def _rules(vip: str, interface: str, comment: str, number: int) -> list[str]:
    """Return the rules for one virtual IP, as iptables-save writes them."""
    every = f"-d {vip} -i {interface}"
    ours = f"-m comment --comment {shlex.quote(comment)}"
    return [
        f"{every} -m pkttype ! --pkt-type unicast {ours} -j DROP",
        f"{every} {ours} -j NFQUEUE --queue-num {number}",
    ]


def _chain(tool: str) -> list[str]:
    """Return all rules of the chain, in order."""
    prefix = "-A PREROUTING "
    lines = _run([f"{tool}-save", "-t", "raw"]).splitlines()
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]


def _bearing(comment: str, rules: Iterable[str]) -> list[str]:
    """Return the rules that have this comment."""
    return [rule for rule in rules if comment in shlex.split(rule)]


def _normal(rule: str) -> list[str]:
    """Return the parts of a rule in an order that does not depend on the version of iptables."""
    return sorted(shlex.split(rule))


def _deletions(rules: Iterable[str]) -> list[str]:
    return [f"-D PREROUTING {rule}" for rule in rules]


def _change(tool: str, lines: Sequence[str]) -> None:
    """Change the table in one step: all lines or none."""
    _run([f"{tool}-restore", "-w", str(_PATIENCE), "--noflush"], "\n".join(["*raw", *lines, "COMMIT", ""]))


def _is_as_iptables_makes_it(objects: Iterable[dict[str, dict[str, str]]]) -> bool:
    """Return whether an nft table contains nothing but empty chains with the names that iptables uses."""
    kinds = [(kind, content.get("name")) for entry in objects for kind, content in entry.items()]
    expected = ("metainfo", "table", "chain")
    return all(kind in expected and (kind != "chain" or name in ("PREROUTING", "OUTPUT")) for kind, name in kinds)


def _has_raw_table(tool: str) -> bool:
    """Return whether the table exists already, or is not nft's, so that it must not be removed."""
    if "nf_tables" not in _run([tool, "-V"]):
        return True
    tables = _ask(["nft", "list", "tables", _FAMILIES[tool]])
    return tables is None or f"table {_FAMILIES[tool]} raw" in tables.splitlines()


def _ask(command: Sequence[str]) -> str | None:
    """Return the output of a command, or None if it fails because there is nothing to list."""
    try:
        return _run(command)
    except OSError:
        return None


def _run(command: Sequence[str], text: str = "") -> str:
    """Return the output of a command. Raise OSError with its error message if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands; what the farm file says in them was checked
            command, input=text, capture_output=True, text=True, check=False, timeout=2 * _PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(errno.ETIMEDOUT, f"{command[0]} takes more than {2 * _PATIENCE} s") from error
    if done.returncode:
        complaint = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise OSError(errno.EINVAL, f"{command[0]} fails: {complaint}")
    return done.stdout


def _explained(error: OSError) -> FilterError:
    """Return the error that tells the operator what to do about a command that fails."""
    if isinstance(error, FileNotFoundError):
        return FilterError(
            f"the command {error.filename} is missing", "install iptables, and nftables for flooded delivery"
        )
    reason = error.strerror or str(error)
    if any(words in reason for words in ("Permission denied", "Operation not permitted", "must be root")):
        return FilterError(f"the rules of netfilter cannot be changed: {reason}", _NEEDS_CAPABILITIES)
    return FilterError(
        f"the rules of netfilter cannot be set: {reason}",
        "load the kernel modules nfnetlink_queue, xt_NFQUEUE, xt_pkttype and xt_comment, and nf_tables for flooded "
        "delivery, or use a kernel that has them",
    )
