"""How far the simulation of settings reaches: which broken rule it notices, in which histories, after how many.

`PYTHONPATH=tests python -m simulation.reach` writes it into docs/simulation.md, after what it says of membership.
"""

from simulation.settings import mutants
from simulation.settings.histories import KINDS, draw
from simulation.settings.world import World

MOST = 120
"Histories within which a mutant must be caught."

# mutant, kind of the histories, promises of which one is seen broken
CAUGHT = [
    (mutants.PromisesToEverybody, "rivals", {"decided by all", "nothing is left", "promises hold"}),
    (mutants.GoesOnWithOneMissing, "deaths", {"decided by all"}),
    (mutants.TakesAnyAnswer, "rivals", {"decided by all", "over is over", "promises hold"}),
    (mutants.BeginsBeforeTheRemoved, "newcomers", {"the removed go first"}),
    (mutants.SettlesUnheard, "peace", {"tried by all"}),
    (mutants.SettlesAlone, "peace", {"decided by all"}),
    (mutants.KeepsTheTrial, "peace", {"tried by all", "decided by all"}),
    (mutants.GoesOnAlone, "refusals", {"one goes back, all go back"}),
    (mutants.PromisesForEver, "storm", {"promises end"}),
    (mutants.TriesForEver, "deaths", {"trials end"}),
    (mutants.CountsItsSleep, "sleepers", {"no needless way back", "first follow, then serve"}),
    (mutants.RemovedGoesBackAlone, "leavers", {"the removed stay out"}),
    (mutants.RemovedStaysOut, "leavers", {"all rest"}),
    (mutants.NeverAsksWhetherRemoved, "leavers", {"the removed end"}),
    (mutants.ServesBeforeItHasAsked, "newcomers", {"first follow, then serve"}),
    (mutants.BelievesAnyRemoval, "conflicts", {"only forward"}),
    (mutants.ServesWhileItLeaves, "leavers", {"the removed take nothing"}),
    (mutants.DrainsWithinThePromise, "leavers", {"promises hold"}),
    (mutants.SettlesItsOwnRemoval, "leavers", {"the removed take nothing"}),
    (mutants.IgnoresAbort, "refusals", {"over is over"}),
    (mutants.AnswersOnce, "refusals", {"over is over"}),
    (mutants.LeavesItThere, "refusals", {"nothing is left"}),
    (mutants.ThrowsItAwayTooSoon, "refusals", {"stored before use"}),
    (mutants.ForgetsItsNumbers, "refusals", {"numbers grow"}),
    (mutants.FollowsAnybody, "conflicts", {"only forward"}),
    (mutants.FollowsNobody, "deaths", {"first follow, then serve", "one revision after quiet"}),
    (mutants.KeepsConflictsToItself, "conflicts", {"conflicts are told"}),
    (mutants.ForgetsWhatTheOtherKnew, "conflicts", {"lineage is true"}),
    (mutants.ServesAtOnce, "alone", {"first follow, then serve"}),
    (mutants.StaysOutForWantOfRoom, "alone", {"nobody stays out"}),
    (mutants.TicksWithoutEnd, "peace", {"time goes on"}),
]


def first_caught(mutant, kind):
    """Give the first seed in whose history a mutant breaks a promise, and that promise; None if none does."""
    for seed in range(MOST):
        violations = World(draw(seed, kind=kind), agreement=mutant).run().observer.violations
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
    lines += ["", TAIL, "", "### Kinds of histories of settings", "", "| Kind | What happens |", "|---|---|"]
    lines += [f"| {kind} | {what.__doc__.splitlines()[0]} |" for kind, what in KINDS.items()]
    return "\n".join(lines) + "\n"


HEAD = """\
## Settings

The agreement on a revision (`hcsidecar/core/settings/agreement.py`) has a simulation of its own, in
`tests/simulation/settings`. Nodes with clocks, disks and daemons of their own carry out what the real state machine
decides, over a network that loses, delays, repeats and reorders heartbeats and messages. What is obtained, activated
and saved takes its time, and fails at times. Operators apply, try again, leave nodes out, remove and add some, and end
conflicts. An observer who sees disks and what each daemon goes by judges after each event:

| Promise | What it says |
|---|---|
| decided by all | A node goes by a revision only when all that must agree have promised, or when one has settled it. |
| promises hold | When the coordinator begins, all still have their promises but those that were started anew. |
| the removed go first | A node that is removed goes by the revision before anybody stops to speak to it. |
| the removed stay out | A node that is removed, and hears nobody, does not go back. |
| the removed take nothing | A node that goes by its removal wants no share, whether or not that is settled. |
| the removed end | After quiet one that is removed, and reaches somebody who knows it, runs no more. |
| only the removed end | Nobody else ends for good; who has gone another way does not. |
| tried by all | What is settled was gone by on all nodes that had to agree. |
| one line | Unless an operator has left out a node by name, of two settled revisions one follows the other. |
| one goes back, all go back | A node on trial that hears that another has gone back goes back at once. |
| promises end, trials end | No promise and no trial lasts longer than its limit, the node's own standstill left out. |
| no needless way back | Where all reach each other nobody goes back from what has been told to be settled. |
| over is over | What was told to be aborted or undone is not settled by that proposal, and lets go of everybody. |
| nothing is left | After quiet a node has stored what it goes by and what was before, and nothing else. |
| stored before use | A daemon goes only by what is stored, and that is not thrown away. |
| numbers grow, lineage is true | A revision has a higher number than all before it, and a node knows which these are. |
| only forward | Who follows others leaves its revision for a descendant of it only. |
| first follow, then serve | One that starts wants a share only when it goes by what those that it hears have settled. |
| nobody stays out | After quiet all are free to want a share, also one that hears nobody, or has a full disk. |
| conflicts are told, one revision after quiet | Who reach each other go by one revision, or both tell why not. |
| all rest, settled means everywhere | After quiet nobody is busy, and what is settled is so on all that had to agree. |
| what can be taken is taken | In peace each change is settled. |
| time goes on | No node is busy without end at one moment. |

Besides seeds there are two enumerations, for a farm of three and one change, with and without a removed node: each node
is killed at each step of each node, and each message gets lost.

| Rule as the mutant has it | Mutant | Kind | Histories | Promise seen broken |
|---|---|---|---|---|"""

TAIL = """\
Not noticed: that a coordinator that stood still for longer than ANSWER_LIMIT begins no more. Others must have answered
just before it fell asleep for that to matter, and they do not hear it then; a directed test holds the rule. Nor that a
node that has just started lets nobody be left out: of 30,000 histories one needs the rule, which a test lives through.
A virtual machine that is paused with its monotonic clock knows nothing of it, and may begin when the promises of others
are over. Nobody joins it, and it goes back when the time to confirm is over."""


if __name__ == "__main__":
    print(described())  # noqa: T201 - what the command is for
