"""The results of an application's checks: those of the application itself (`both`) and those of its needs (`pre`)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hcsidecar.core.application.checks import UNCHECKED, first_complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule:
    """The part of a check's configuration that the life cycle depends on."""

    name: str
    pre: bool = False
    action: str = "none"
    "One of restart, stopstart, wait, stop and none."


class CheckBoard:
    """The latest complaint of each check, or None for a check that passes."""

    def __init__(self, rules: Iterable[CheckRule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._complaints: dict[str, str | None] = dict.fromkeys(self._rules, UNCHECKED)
        self._on_trial: frozenset[str] = frozenset()
        "Checks without a result that began while the application served: they keep nobody from serving."
        self.obstacle: str | None = None
        "A fault of the machine that keeps this node from serving, whatever the checks say; None if there is none."

    def rule(self, name: str) -> CheckRule:
        """Return the check of this name."""
        return self._rules[name]

    def begin(self, *, pre: bool) -> None:
        """Forget the results of one kind of checks: a new round of them begins."""
        for name, rule in self._rules.items():
            if rule.pre is pre:
                self._complaints[name] = UNCHECKED
                self._on_trial -= {name}

    def change(self, rules: Iterable[CheckRule], *, begun: Collection[str], serves: bool) -> None:
        """Take other checks, of which `begun` begin without a result; the others keep theirs.

        While the application serves, a check that is new, or passed before it was changed, keeps nobody from serving
        until it has a result. One that failed before must pass first.
        """
        former, self._rules = self._complaints, {rule.name: rule for rule in rules}
        passed = {name for name in self._rules if former.get(name) is None or name in self._on_trial}
        self._on_trial = (self._on_trial - set(begun)) & self._rules.keys()
        if serves:
            self._on_trial |= passed & set(begun)
        self._complaints = {name: UNCHECKED if name in begun else former[name] for name in self._rules}

    def take(self, name: str, complaint: str | None) -> str | None:
        """Record the result of a check. Return its complaint before that."""
        before, self._complaints[name] = self._complaints[name], complaint
        if complaint != UNCHECKED:
            self._on_trial -= {name}
        return before

    def complaint(self, name: str) -> str | None:
        """Return the latest complaint of a check, or None if it passes."""
        return self._complaints[name]

    def says(self, name: str) -> Literal["up", "down", "init"] | None:
        """Return the present result of a check: init if it has none yet, None if there is no such check."""
        if name not in self._complaints:
            return None
        complaint = self._complaints[name]
        return "up" if complaint is None else "init" if complaint == UNCHECKED else "down"

    @property
    def rules(self) -> Collection[CheckRule]:
        """All checks, in their order."""
        return self._rules.values()

    def results(self, *, pre: bool) -> Mapping[str, bool]:
        """Return whether each check of one kind passes; checks without a result are left out."""
        told = {name: text for name, text in self._complaints.items() if self._rules[name].pre is pre}
        return {name: text is None for name, text in told.items() if text != UNCHECKED}

    def of_application(self) -> Mapping[str, str | None]:
        """Return the complaints of the checks of the application itself, by name."""
        return {name: text for name, text in self._complaints.items() if not self._rules[name].pre}

    def of_needs(self) -> Mapping[str, str | None]:
        """Return the complaints of the checks of its needs, by name, without checks whose action is none."""
        return {
            name: text
            for name, text in self._complaints.items()
            if self._rules[name].pre and self._rules[name].action != "none"
        }

    def unmet(self) -> tuple[str, ...]:
        """Return the names of the failing checks whose need the application waits for."""
        return tuple(
            name
            for name, text in self.of_needs().items()
            if text not in (None, UNCHECKED) and self._rules[name].action == "wait"
        )

    def why_not_serve(self) -> str | None:
        """Return why a started application must take no traffic, or None if it may.

        A need that is no longer met is not a reason here: its action ends the traffic, with a drain.
        """
        open_needs = {name: text for name, text in self.of_needs().items() if text == UNCHECKED}
        complaints = {**self.of_application(), **open_needs}
        return self.obstacle or first_complaint(
            {name: text for name, text in complaints.items() if name not in self._on_trial}
        )

    def why_not_start(self) -> str | None:
        """Return the need for which the application must wait before it starts, or None."""
        return first_complaint(self.of_needs())
