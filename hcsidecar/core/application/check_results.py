"""What the checks of an application say, those of itself (`both`) and those of what it needs (`pre`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hcsidecar.core.application.checks import UNCHECKED, first_complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule:
    """One check, as far as the application's life depends on it."""

    name: str
    pre: bool = False
    action: str = "none"
    "restart, stopstart, wait, stop or none."


class CheckBoard:
    """The latest complaint of each check; None when it passes."""

    def __init__(self, rules: Iterable[CheckRule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._complaints: dict[str, str | None] = dict.fromkeys(self._rules, UNCHECKED)
        self.obstacle: str | None = None
        "What of the machine keeps this node from serving, whatever its checks say."

    def rule(self, name: str) -> CheckRule:
        """Give the check of this name."""
        return self._rules[name]

    def begin(self, *, pre: bool) -> None:
        """Begin anew with those of one kind."""
        for name, rule in self._rules.items():
            if rule.pre is pre:
                self._complaints[name] = UNCHECKED

    def take(self, name: str, complaint: str | None) -> str | None:
        """Note what a check says; gives what it said before."""
        before, self._complaints[name] = self._complaints[name], complaint
        return before

    def complaint(self, name: str) -> str | None:
        """Give the latest complaint of a check."""
        return self._complaints[name]

    def says(self, name: str) -> Literal["up", "down", "init"] | None:
        """Return what a check says now: init while it has said nothing; None if there is no such check."""
        if name not in self._complaints:
            return None
        complaint = self._complaints[name]
        return "up" if complaint is None else "init" if complaint == UNCHECKED else "down"

    def results(self, *, pre: bool) -> Mapping[str, bool]:
        """Tell of those of one kind that have a result whether they pass."""
        told = {name: text for name, text in self._complaints.items() if self._rules[name].pre is pre}
        return {name: text is None for name, text in told.items() if text != UNCHECKED}

    def of_application(self) -> Mapping[str, str | None]:
        """Give what the checks of the application say."""
        return {name: text for name, text in self._complaints.items() if not self._rules[name].pre}

    def of_needs(self) -> Mapping[str, str | None]:
        """Give what the checks of its needs say, but for those whose failure changes nothing."""
        return {
            name: text
            for name, text in self._complaints.items()
            if self._rules[name].pre and self._rules[name].action != "none"
        }

    def unmet(self) -> tuple[str, ...]:
        """Name the needs that are known to be unmet and that an application waits for."""
        return tuple(
            name
            for name, text in self.of_needs().items()
            if text not in (None, UNCHECKED) and self._rules[name].action == "wait"
        )

    def why_not_serve(self) -> str | None:
        """Say why an application that is started takes no traffic yet or any more.

        A need that turns out unmet is no reason: it ends the traffic in an orderly way, by its action.
        """
        open_needs = {name: text for name, text in self.of_needs().items() if text == UNCHECKED}
        return self.obstacle or first_complaint({**self.of_application(), **open_needs})

    def why_not_start(self) -> str | None:
        """Say which need keeps the application from starting."""
        return first_complaint(self.of_needs())
