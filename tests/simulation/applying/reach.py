"""How far the simulation of membership and agreement together reaches: which broken rule it notices, and where.

`PYTHONPATH=tests python -m simulation.reach` writes it into docs/simulation.md, after what it says of settings.
"""

from simulation.applying import mutants
from simulation.applying.histories import KINDS, draw
from simulation.applying.server import ServersSettings
from simulation.applying.world import FarmWorld
from simulation.machine import KernelShare

from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.settings.agreement import Agreement

MOST = 30
"Histories within which a mutant must be caught."

# mutant, kind of the histories, promises of which one is seen broken
CAUGHT = [
    (mutants.BeginsBeforeAllHavePromised, "peace", {"decided by all"}),
    (mutants.ServesBeforeItHasAsked, "away", {"first follow, then serve"}),
    (mutants.TheRemovedServesOn, "members", {"no reset", "one taker", "the removed take nothing"}),
    (mutants.CountsTheNewMajorityOnly, "divided", {"one part serves"}),
    (mutants.KeepsBothMajorities, "members", {"nothing by halves"}),
    (mutants.KeepsAGroupAsClean, "peace", {"no reset"}),
    (mutants.KeepsItsFormerNodes, "divided", {"nothing by halves", "a taker after quiet"}),
    (mutants.GoesOverByHalves, "members", {"one taker", "nothing by halves"}),
]

_PARTS = {
    "membership": Membership,
    "share": KernelShare,
    "agreement": Agreement,
    "servers_settings": ServersSettings,
}


def part_of(mutant):
    """Give the argument of a world that puts a mutant in its place."""
    return next({place: mutant} for place, kind in _PARTS.items() if issubclass(mutant, kind))


def first_caught(mutant, kind):
    """Give the first seed in whose history a mutant breaks a promise, and that promise; None if none does."""
    for seed in range(MOST):
        violations = FarmWorld(draw(seed, kind=kind), **part_of(mutant)).run().observer.violations
        if violations:
            return seed, violations[0].promise
    return None


def described():
    """Write the chapter, with what happens now."""
    lines = [HEAD]
    for mutant, kind, _ in CAUGHT:
        seed, promise = first_caught(mutant, kind)
        what = " ".join(mutant.__doc__.split())
        lines.append(f"| {what} | `{mutant.__name__}` | {kind} | {seed + 1} | {promise} |")
    lines += ["", "### Kinds of histories of applied settings", "", "| Kind | What happens |", "|---|---|"]
    lines += [f"| {kind} | {what.__doc__.splitlines()[0]} |" for kind, what in KINDS.items()]
    return "\n".join(lines) + "\n"


HEAD = """\
## Settings that are applied while the farm serves

`tests/simulation/applying` joins the two: the machines, filters, clients and promises of the first chapters, and the
revisions, operators and promises of the second. Each node's real agreement drives its real membership and share as the
daemon does, and hears of the others by the real heartbeats. Revisions change share groups, powers, nodes, what a cut
farm does, and pulse and `lost_after`, while nodes die, stand still, are cut off, or cannot take a revision. The
promises of both hold, and these:

| Promise | What it says |
|---|---|
| first follow, then serve | One that starts takes no bucket by settings that those that it reaches have left before. |
| one part serves | With a majority, of two parts of a cut farm one takes buckets at most, during a trial as well. |
| the removed take nothing | A node that goes by its own removal takes no bucket. |
| nothing by halves | After quiet share groups, powers, nodes and majorities of a node are those of one revision. |

| Rule as the mutant has it | Mutant | Kind | Histories | Promise seen broken |
|---|---|---|---|---|"""
