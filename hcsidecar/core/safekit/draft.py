"""The farm file of an import while it is being made: tables by name, each with a comment on its origin."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

DraftValues = dict[str, object]

_UNUSABLE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTable:
    """One of several tables of the same name."""

    values: DraftValues
    comment: str = ""


@dataclass(slots=True, kw_only=True)
class Draft:
    """All tables of a farm file in the making."""

    module: str
    "Name of the module, as the scripts know it."
    farm: DraftValues
    nodes: list[DraftTable] = field(default_factory=list)
    heartbeat: DraftValues = field(default_factory=dict)
    web: DraftValues = field(default_factory=dict)
    l2: DraftValues = field(default_factory=dict)
    vips: list[DraftTable] = field(default_factory=list)
    shares: list[DraftTable] = field(default_factory=list)
    application: DraftValues = field(default_factory=dict)
    checks: list[DraftTable] = field(default_factory=list)
    start_timeout: float = 60.0
    "Seconds that the application may take to start."

    @property
    def addresses(self) -> set[str]:
        """The addresses of all nodes."""
        return {address for row in self.nodes for address in _addresses(row.values)}

    @property
    def node_names(self) -> list[str]:
        """The names of all nodes."""
        return [str(row.values["name"]) for row in self.nodes]

    @property
    def vip_addresses(self) -> list[str]:
        """The virtual IPs."""
        return [str(row.values["address"]) for row in self.vips]

    def document(self) -> dict[str, object]:
        """Return the farm file as TOML is parsed."""
        document: dict[str, object] = {"farm": self.farm, "node": [row.values for row in self.nodes]}
        for name in ("heartbeat", "web"):
            if table := getattr(self, name):
                document[name] = table
        if self.vips or self.shares:
            document["l2"] = self.l2 | {
                "vip": [row.values for row in self.vips],
                "share": [row.values for row in self.shares],
            }
        if self.application:
            document["application"] = self.application
        if self.checks:
            document["check"] = [row.values for row in self.checks]
        return document

    def share_name(self, wanted: str) -> str:
        """Return an unused name for a share that is like the wanted one."""
        return _free(usable_name(wanted), {row.values["name"] for row in self.shares})

    def check_name(self, kind: str, wanted: str) -> str:
        """Return an unused name for a check that is like the wanted one.

        If another kind of check has the name already, the kind is put before it, as in the names of resources.
        """
        taken = {row.values["name"] for row in self.checks}
        name = usable_name(wanted)
        return name if name not in taken else _free(usable_name(f"{kind}.{name}"), taken)


def usable_name(text: str) -> str:
    """Return the name nearest to a text that a farm file allows."""
    return _UNUSABLE.sub("-", text).lstrip("._-")[:_LONGEST] or "unnamed"


def _free(name: str, taken: set[object]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name[: _LONGEST - 6]}-{number}"
    return candidate


def _addresses(node: Mapping[str, object]) -> list[str]:
    several = node.get("addresses")
    return [str(node["address"])] if not isinstance(several, dict) else [str(address) for address in several.values()]
