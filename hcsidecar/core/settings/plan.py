"""The plan of a change: what it does to each node of one farm, in an operator's words, before anything happens.

`plan` takes both farm files, the files that differ and which nodes are heard. It decides nothing by the clock and asks
nobody: what only a node itself can say (its ports, its interfaces) is not in it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from hcsidecar.core.farmfile.farm_file import FarmFile, format_duration
from hcsidecar.core.settings.differences import CHANGED, UNSET, ChangeKind, FileChange, SettingChange, setting_changes
from hcsidecar.core.settings.key_effects import ChangeEffect, Touched, effect_of
from hcsidecar.core.settings.revision import FARM_FILE
from l2mode.core.buckets import takers


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCondition:
    """What is known of a node when the plan is made. A node that nobody knows of is not alive."""

    name: str
    alive: bool
    ready: bool
    powers: Mapping[str, int] = field(default_factory=dict)
    "What `hcsidecar power` has set, by share, over the farm file."


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the change does."""

    effect: ChangeEffect
    nodes: tuple[str, ...]
    "Those that it is done to; all of them where `of_all`."
    of_all: bool
    "It is the same for every node of the farm."
    keys: tuple[str, ...] = ()
    "Keys of the farm file, or names of files, that it is done for."
    text: str
    "A sentence without a full stop, with the node's name where it is for one."


class ChangePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a change does, to whom, and what to mind."""

    steps: tuple[PlanStep, ...] = ()
    refusals: tuple[str, ...] = ()
    "Why it is not possible; each says what to do instead."
    warnings: tuple[str, ...] = ()
    worst: ChangeEffect | None = None
    "The effect that disturbs most; None where nothing changes."

    @property
    def is_possible(self) -> bool:
        """Whether it may be applied."""
        return not self.refusals

    @property
    def restarts_daemons(self) -> bool:
        """Whether some daemon must start again to take it."""
        return any(step.effect is ChangeEffect.RESTARTS_DAEMON for step in self.steps)

    def lines(self) -> list[str]:
        """Return the plan as text: refusals, what is for every node, then node by node, then warnings."""
        if not self.steps and not self.refusals:
            return ["nothing changes", *_block("mind", self.warnings)]
        shown = [step for step in self.steps if step.effect is not ChangeEffect.REFUSED]
        everywhere = [step.text for step in shown if step.of_all]
        each = [step.text for step in shown if not step.of_all]
        return [
            *_block("not possible while the farm runs", self.refusals),
            *_block("every node", everywhere),
            *_block("node by node", each),
            *_block("mind", self.warnings),
        ]


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def plan(
    former: FarmFile,
    present: FarmFile,
    *,
    files: Sequence[FileChange] = (),
    nodes: Collection[NodeCondition] = (),
    without: Collection[str] = (),
) -> ChangePlan:
    """Return the plan of a change from one farm file to another.

    `files` are those of the bundle that differ, `nodes` what is known of the nodes of both files, and `without` the
    names of nodes that need not take part.
    """
    change = _Change(former, present, files, {node.name: node for node in nodes}, frozenset(without))
    steps = tuple(change.steps())
    refusals = tuple(step.text for step in steps if step.effect is ChangeEffect.REFUSED)
    return ChangePlan(
        steps=steps,
        refusals=refusals,
        warnings=tuple(change.warnings(steps)) if steps else (),
        worst=max((step.effect for step in steps), key=lambda effect: effect.severity, default=None),
    )


class _Change:
    """A change of one farm, looked at from all sides."""

    def __init__(
        self,
        former: FarmFile,
        present: FarmFile,
        files: Sequence[FileChange],
        conditions: Mapping[str, NodeCondition],
        without: frozenset[str],
    ) -> None:
        self._former, self._present = former, present
        self._files = tuple(file for file in files if file.name != FARM_FILE)
        self._conditions, self._without = conditions, without
        self._settings = setting_changes(former, present)
        self._has_shares = former.l2 is not None and present.l2 is not None
        before, after = ([node.name for node in farm.node] for farm in (former, present))
        self._staying = [name for name in after if name in before]
        self._joining = [name for name in after if name not in before]
        self._leaving = [name for name in before if name not in after]
        self._moving = [name for name in self._staying if self._loses_every_address(name)]

    def steps(self) -> Iterator[PlanStep]:
        """Return all that is done, in the order in which an operator reads it."""
        by_effect = [(change, self._effect(change)) for change in self._settings]
        yield from (self._refusal(change) for change, effect in by_effect if effect is ChangeEffect.REFUSED)
        yield from self._refused_moves()
        yield from (self._live_step(change) for change, effect in by_effect if effect is ChangeEffect.LIVE)
        yield from (self._file_step(file) for file in self._files)
        # Powers that move no client now, of a node that is not alive say, are changes all the same.
        yield from (
            _everywhere(effect, change.key, f"{_becomes(change)}: clients move where shares change", self._all_nodes())
            for change, effect in by_effect
            if effect is ChangeEffect.MOVES_CLIENTS
        )
        yield from self._membership()
        yield from self._restarts(ChangeEffect.RESTARTS_APPLICATION, by_effect)
        yield from self._restarts(ChangeEffect.RESTARTS_DAEMON, by_effect)
        if self._has_shares and any(effect in _MOVING for _, effect in by_effect):
            yield from self._moves()

    def warnings(self, steps: Sequence[PlanStep]) -> Iterator[str]:
        """Return what an operator should mind before saying yes."""
        yield from self._absent()
        yield from self._too_few_ready(steps)
        yield from self._no_majority()
        yield from self._forgotten_balancers()
        yield from self._programs_used_at_once(steps)
        yield from self._new_checks()
        yield from self._powers_over_the_file()

    # What is done

    def _all_nodes(self) -> tuple[str, ...]:
        return tuple(node.name for node in self._present.node)

    def _is_alive(self, name: str) -> bool:
        return name in self._conditions and self._conditions[name].alive

    def _is_ready(self, name: str) -> bool:
        return self._is_alive(name) and self._conditions[name].ready

    def _effect(self, change: SettingChange) -> ChangeEffect:
        """Return the effect of one change in this farm; the table knows only the key's."""
        if change.key in ("node.address", "node.addresses"):
            moves = change.entry in self._moving
            return ChangeEffect.MEMBERSHIP if moves else ChangeEffect.RESTARTS_DAEMON
        if change.key == "node.power" and not self._has_shares:
            # A balancer shares out the clients, and knows no powers.
            return ChangeEffect.LIVE
        return effect_of(change.key).effect

    def _loses_every_address(self, name: str) -> bool:
        before, after = (farm.node_named(name).addresses for farm in (self._former, self._present))
        return set(before.values()).isdisjoint(after.values())

    def _refusal(self, change: SettingChange) -> PlanStep:
        text = f"{_becomes(change)}: {effect_of(change.key).note}"
        return _everywhere(ChangeEffect.REFUSED, change.key, text, self._all_nodes())

    def _live_step(self, change: SettingChange) -> PlanStep:
        text = f"{_becomes(change)}: {_live_note(change)}"
        if effect_of(change.key).touches is Touched.NAMED and change.item:
            return _of_node(ChangeEffect.LIVE, change.item, (change.key,), f"{change.item}: {text}")
        return _everywhere(ChangeEffect.LIVE, change.key, text, self._all_nodes())

    def _refused_moves(self) -> Iterator[PlanStep]:
        if len(self._moving) > 1:
            names = ", ".join(self._moving)
            text = (
                f"{names} change every address at once, and would not be heard at the new ones until all have started"
                " again; change one node with each apply, or first give the nodes a second network"
            )
            yield _everywhere(ChangeEffect.REFUSED, "node.address", text, tuple(self._moving))
        if not self._staying:
            text = "no node of the farm stays in it; keep one at least, and remove it with another apply"
            yield _everywhere(ChangeEffect.REFUSED, "node", text, tuple(self._leaving))

        ready = [name for name in self._staying if self._is_ready(name)]
        taking = [name for name in self._leaving if self._is_ready(name) and name not in self._without]
        if taking and self._staying and len(ready) < self._present.farm.keep_ready:
            text = (
                f"{', '.join(taking)} cannot leave now: {_ready(ready)}, and [farm] keep_ready is"
                f" {self._present.farm.keep_ready}; let more nodes become Ready first, or stop the application there"
            )
            yield _everywhere(ChangeEffect.REFUSED, "node", text, tuple(taking))

    def _file_step(self, file: FileChange) -> PlanStep:
        uses = [*_uses_of(self._present, file.name), *_uses_of(self._former, file.name)]
        when = uses[0].when if uses else "it goes along; the farm file does not name it"
        if file.change is ChangeKind.REMOVED:
            when = "nothing is disturbed"
        text = f"{file.name} {_has_become(file)}: {when}"
        return _everywhere(ChangeEffect.LIVE, file.name, text, self._all_nodes())

    def _membership(self) -> Iterator[PlanStep]:
        for name in self._joining:
            yield _of_node(ChangeEffect.MEMBERSHIP, name, ("node",), f"{name} joins")
        for name in self._leaving:
            how = "it is not alive"
            if self._is_alive(name):
                how = f"{self._drained(daemon=True)}; then its application stops, and its daemon ends"
            yield _of_node(ChangeEffect.MEMBERSHIP, name, ("node",), f"{name} leaves: {how}")
        for name in self._moving:
            new = self._present.node_named(name).address
            text = f"{name} leaves and joins at its new address {new}: {self._drained(daemon=True)}"
            yield _of_node(ChangeEffect.MEMBERSHIP, name, ("node.address",), text)

    def _restarts(
        self, effect: ChangeEffect, by_effect: Sequence[tuple[SettingChange, ChangeEffect]]
    ) -> Iterator[PlanStep]:
        what = "daemon" if effect is ChangeEffect.RESTARTS_DAEMON else "application"
        wanted = [change for change, its in by_effect if its is effect]
        for name in self._staying:
            reasons = [change for change in wanted if self._touches(change, name)]
            if not reasons:
                continue
            why = ", ".join(_becomes(change, of_node=name) for change in reasons)
            how = self._drained(daemon=what == "daemon") if self._is_alive(name) else "it is not alive: when it returns"
            keys = tuple(dict.fromkeys(change.key for change in reasons))
            yield _of_node(effect, name, keys, f"{name}: restarts its {what}: {why}; {how}")

    def _touches(self, change: SettingChange, name: str) -> bool:
        if change.key.startswith("node."):
            return change.entry == name
        if change.key == "web.listen":
            return self._former.web_listen(self._former.node_named(name)) != self._present.web_listen(
                self._present.node_named(name)
            )
        return True

    def _drained(self, *, daemon: bool) -> str:
        """Say how long the drain before a restart takes; the former file is in force then."""
        limit = self._former.health.lame_duck
        if not daemon and self._former.application is not None and self._former.application.drain is not None:
            limit = self._former.application.drain
        return f"drains up to {_spoken(limit)} first" if limit else "without a drain"

    def _moves(self) -> Iterator[PlanStep]:
        """Say whose shares grow and shrink, among the nodes that are heard and those that join."""
        before = self._fractions(self._former, [node.name for node in self._former.node if self._is_alive(node.name)])
        members = [name for name in self._all_nodes() if self._is_alive(name) or name in self._joining]
        after = self._fractions(self._present, members)
        for name in dict.fromkeys([*self._all_nodes(), *self._leaving]):
            told = [
                f"{_percent(after.get((name, share), 0.0))} of {share} instead of {_percent(old)}"
                for share in self._present.share_names
                if (old := before.get((name, share), 0.0)) != after.get((name, share), 0.0)
                and share in self._former.share_names
            ]
            if told:
                text = f"{name}: takes {', '.join(told)}"
                yield _of_node(ChangeEffect.MOVES_CLIENTS, name, ("node.power",), text)

    def _fractions(self, farm: FarmFile, members: Collection[str]) -> dict[tuple[str, str], float]:
        """Return the part of each share that each member takes, by node and share."""
        found: dict[tuple[str, str], float] = {}
        powers = {name: dict(zip(farm.share_names, farm.powers_of(name), strict=True)) for name in members}
        for share in farm.share_names:
            of_share = {name: self._set_power(name, share, its[share]) for name, its in powers.items()}
            taking = takers(of_share)
            total = sum(of_share[name] for name in taking)
            found |= {(name, share): of_share[name] / total for name in taking}
        return found

    def _set_power(self, name: str, share: str, power: int) -> int:
        condition = self._conditions.get(name)
        return power if condition is None else condition.powers.get(share, power)

    # What to mind

    def _absent(self) -> Iterator[str]:
        for name in self._staying:
            if self._is_alive(name):
                continue
            if name in self._without:
                yield f"{name} is not alive, and takes the change when it returns"
            else:
                yield f"{name} is not alive: start it, or leave it out with --without {name}"
        for name in self._joining:
            if not self._is_alive(name):
                yield f"{name} is not heard yet: it joins when its daemon runs with the same farm file and key file"
        known = {*self._staying, *self._joining, *self._leaving}
        for name in sorted(self._without - known):
            yield f"--without names {name}, which is no node of the farm"

    def _too_few_ready(self, steps: Sequence[PlanStep]) -> Iterator[str]:
        keep = self._present.farm.keep_ready
        ready = [name for name in self._staying if self._is_ready(name)]
        restarted = {name for step in steps if step.effect in _RESTARTING for name in step.nodes if not step.of_all}
        restarted |= set(self._moving)
        affected = [name for name in ready if name in restarted]
        if affected and len(ready) - 1 < max(keep, 1):
            beside = f", and [farm] keep_ready is {keep}" if keep else ""
            left = [name for name in ready if name != affected[0]]
            if len(affected) == 1 or not left:
                yield f"{_ready(left)} while {affected[0]} restarts{beside}"
            else:
                rest = f"only {len(left)} of {len(ready)} Ready nodes would stay so"
                yield f"{rest} while one of {', '.join(affected)} restarts{beside}"

    def _no_majority(self) -> Iterator[str]:
        if self._present.farm.partition != "majority":
            return
        total = len(self._present.node)
        alive = sum(self._is_alive(node.name) for node in self._present.node)
        if self._conditions and 2 * alive <= total:
            yield (
                f'{alive} of {total} nodes are alive, which is no majority: with [farm] partition = "majority"'
                " no node serves"
            )

    def _forgotten_balancers(self) -> Iterator[str]:
        old, new = self._former.health.path, self._present.health.path
        if old != new:
            always = f"/var/modules/{self._present.farm.name}/ready.txt"
            yield f"balancers that ask {old} get 404 from then on: let them ask {always} before, and {new} afterwards"

    def _programs_used_at_once(self, steps: Sequence[PlanStep]) -> Iterator[str]:
        restarting = any(step.effect in _RESTARTING for step in steps)
        for file in self._files:
            for use in _uses_of(self._present, file.name):
                if use.is_check:
                    yield f"{file.name} is used at once by {use.who}: what it finds counts"
                elif restarting and use.who != "transition":
                    yield f"{file.name} is used at once where a restart runs the script {use.who}"

    def _new_checks(self) -> Iterator[str]:
        checks = {check.name: check for check in self._present.check}
        for change in self._settings:
            if change.key != "check" or change.change is not ChangeKind.ADDED:
                continue
            action = self._present.action_of(checks[change.entry])
            if action != "none":
                yield f"check {change.entry} is new: where it fails, its action is {action}"

    def _powers_over_the_file(self) -> Iterator[str]:
        if not any(change.key in ("node.power", "l2.share.power") for change in self._settings):
            return
        for name in self._staying:
            if name in self._conditions and (powers := self._conditions[name].powers):
                told = ", ".join(f"{power} in {share}" for share, power in sorted(powers.items()))
                yield f"{name} keeps the power set by `hcsidecar power`, over the farm file: {told}"


_RESTARTING = (ChangeEffect.RESTARTS_APPLICATION, ChangeEffect.RESTARTS_DAEMON)
_MOVING = (ChangeEffect.MOVES_CLIENTS, ChangeEffect.MEMBERSHIP)


@dataclass(frozen=True, slots=True)
class _Use:
    """Who runs a file of the bundle."""

    who: str
    when: str
    is_check: bool = False


def _uses_of(farm: FarmFile, name: str) -> Iterator[_Use]:
    """Return what in a farm file runs a file of the bundle."""
    for key, script in farm.application.scripts.items() if farm.application else ():
        if _plain_path(script) == name:
            yield _Use(key, "used at its next run")
    for check in farm.check:
        command = getattr(check, "command", ())
        if command and _plain_path(command[0]) == name:
            often = f"used at its next run, every {_spoken(check.interval)}"
            when = "used when it is started again" if check.type == "custom" else often
            yield _Use(f"check {check.name}", when, is_check=True)
    for target in farm.target:
        command = getattr(target, "command", ())
        if isinstance(command, tuple) and command and _plain_path(command[0]) == name:
            yield _Use(f"target {target.label}", "used at its next run")


def _has_become(file: FileChange) -> str:
    """Complete a sentence that begins with the file's name."""
    before, after = file.before, file.after
    if before is None or after is None or before.sha256 != after.sha256:
        return f"is {file.change}"
    return "may be executed now" if after.executable else "may not be executed any more"


def _plain_path(path: str) -> str:
    """Return a relative path as bundles write it: `bin/start` for `./bin//start`."""
    if path.startswith("/"):
        return path
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _everywhere(effect: ChangeEffect, key: str, text: str, nodes: tuple[str, ...]) -> PlanStep:
    return PlanStep(effect=effect, nodes=nodes, of_all=True, keys=(key,), text=text)


def _of_node(effect: ChangeEffect, name: str, keys: tuple[str, ...], text: str) -> PlanStep:
    return PlanStep(effect=effect, nodes=(name,), of_all=False, keys=keys, text=text)


def _becomes(change: SettingChange, *, of_node: str = "") -> str:
    """Say what a key is from now on; of the node that the sentence is about, the name is left out."""
    if change.is_table:
        where = f"{_singular(change.key)} {change.entry}" if change.entry else f"[{change.key}]"
        return f"{where} is {'new' if change.change is ChangeKind.ADDED else 'removed'}"
    table, _, key = change.key.rpartition(".")
    item = f".{change.item}" if change.item else ""
    if change.entry and change.entry == of_node:
        where = f"{key}{item}"
    elif change.entry:
        where = f"{_singular(table)} {change.entry}: {key}{item}"
    else:
        where = f"{change.key}{item}"
    if change.after in (CHANGED, UNSET):
        return f"{where} is {change.after.strip('()')}"
    return f"{where} becomes {change.after}"


def _singular(table: str) -> str:
    return "VIP" if table == "l2.vip" else table.rpartition(".")[2]


def _live_note(change: SettingChange) -> str:
    """Say that nothing is disturbed, and from when on it counts."""
    note = effect_of(change.key).note
    if note.startswith("used "):
        return note
    if change.key == "check" and change.change is ChangeKind.ADDED:
        return "it begins in `init`, and nothing is disturbed until it has found something"
    return "nothing is disturbed"


def _ready(names: Sequence[str]) -> str:
    return f"only {', '.join(names)} would be Ready" if names else "no node would be Ready"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _spoken(seconds: float) -> str:
    """Write a duration as a person does: 10 s."""
    text = format_duration(seconds)
    unit = text.lstrip("0123456789")
    return f"{text.removesuffix(unit)} {unit}"
