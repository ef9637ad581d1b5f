"""How far the simulation reaches: which broken rule it notices, in which kind of history, and after how many.

`PYTHONPATH=tests python -m simulation.reach` writes docs/simulation.md.
"""

from pathlib import Path

from simulation import mutants
from simulation.applying import reach as applying_reach
from simulation.histories import KINDS, draw
from simulation.machine import KernelShare
from simulation.settings import reach as settings_reach
from simulation.world import World

MOST = 30
"Histories within which a mutant must be caught."

LIST = Path(__file__).parents[2] / "docs" / "simulation.md"

# mutant, kind of the histories, first seed, promises of which one is seen broken
CAUGHT = [
    (mutants.ViewIsProof, "flicker", 0, {"one taker"}),
    (mutants.HearingIsProof, "patchwork", 0, {"one taker"}),
    (mutants.MembersAreEverybody, "patchwork", 0, {"one taker"}),
    (mutants.ForcedClaim, "patchwork", 0, {"one taker"}),
    (mutants.EndlessPatience, "patchwork", 0, {"a taker after quiet"}),
    (mutants.LeaseCountsSends, "doze", 0, {"one taker"}),
    (mutants.CountsRecordings, "replay", 0, {"one taker after quiet", "views agree"}),
    (mutants.BelievesOldLists, "replay", 0, {"one taker after quiet", "views agree"}),
    (mutants.KeepsItsLowBoot, "rebirth", 0, {"one taker", "views agree"}),
    (mutants.TellsNobodyOfItsRefusal, "rebirth", 0, {"one taker", "views agree"}),
    (mutants.ChasesItsNamesake, "double", 0, {"views agree", "one taker"}),
    (mutants.SaysNothingOfItsNamesake, "double", 0, {"both alarm"}),
    (mutants.takes_the_very_next_boot, "double", 0, {"no number twice"}),
    (mutants.StaysInThoughRefused, "double", 0, {"one taker", "a name serves once", "views agree"}),
    (mutants.GoesOnAfterASnapshot, "rebirth", 0, {"one taker", "views agree"}),
    (mutants.GoesByItsOwnTiming, "retiming", 0, {"one taker", "views agree", "views settle"}),
    (mutants.ListensByItsOwnTiming, "retiming", 0, {"one taker", "one taker after quiet"}),
    (mutants.LeaseOfMembersOnly, "misfortune", 40, {"one taker"}),
    (mutants.LeaseOfWhoWasJustHeard, "misfortune", 0, {"one taker"}),
    (mutants.LeaseWithoutMargin, "misfortune", 40, {"one taker"}),
    (mutants.ForgetsTheGuardOfOthers, "misfortune", 0, {"one taker"}),
    (mutants.IgnoresWhoDoesNotListIt, "awakening", 0, {"one taker"}),
    (mutants.ListensOnlyOnceAlone, "awakening", 0, {"one taker"}),
    (mutants.DoesNotListen, "awakening", 0, {"one taker"}),
    (mutants.MinoritiesServe, "storm", 10, {"views agree"}),
    (mutants.NoLease, "doze", 0, {"one taker"}),
    (mutants.NoGuard, "bad luck", 0, {"one taker"}),
    (mutants.GuardsEachNewBoot, "restart", 0, {"short moves"}),
    (mutants.WakesAsIfNothingHappened, "doze", 0, {"one taker"}),
    (mutants.JudgesNobodyWhileLate, "struggle", 0, {"short moves"}),
    (mutants.WantsBeforeListening, "planned", 0, {"short moves", "no silence"}),
    (mutants.OneFarewell, "farewell", 0, {"short moves"}),
    (mutants.OneEarOfTwo, "struggle", 0, {"only its buckets move"}),
    (mutants.NeverYields, "patchwork", 0, {"a taker after quiet"}),
    (mutants.StepsBackForWhoDoesNotServe, "one way", 0, {"a taker after quiet"}),
    (mutants.ComesBackAtOnce, "mosaic", 0, {"views settle"}),
    (mutants.OwnFarmFileCounts, "rollout", 0, {"views agree"}),
    (mutants.TellsWithTheNextBeat, "planned", 0, {"short moves"}),
    (mutants.SaysItEachPulse, "stutter", 0, {"short moves"}),
    (mutants.SaysBeforeClosing, "labour", 0, {"one taker", "no reset"}),
    (mutants.BlamesOthersForItsSleep, "nap", 0, {"short moves"}),
    (mutants.ProposesEachNewcomerAtOnce, "rush", 0, {"few views"}),
    (mutants.AdoptsNobodysView, "stutter", 0, {"short moves"}),
    (mutants.CountsNewcomersAtOnce, "introduction", 0, {"one taker", "short moves", "only its buckets move"}),
    (mutants.ProofsOutliveALapse, "relapse", 0, {"one taker"}),
    (mutants.NoAnswers, "planned", 0, {"short moves", "no silence"}),
    (mutants.LetsGoFirst, "planned", 0, {"short moves"}),
    (mutants.BelievesThePast, "replay", 0, {"one taker after quiet", "views agree"}),
    (mutants.OldFilterStaysOpen, "echo", 0, {"one taker"}),
    (mutants.DropsWithTheClaim, "flicker", 0, {"one taker"}),
    (mutants.HidesItsDirt, "planned", 0, {"no reset"}),
    (mutants.LetsGoAtOnce, "planned", 0, {"no gap"}),
    (mutants.TakesWithTheClaim, "planned", 0, {"no gap"}),
    (mutants.SendsAtOnce, "planned", 0, {"no gap"}),
    (mutants.OwnClaimIsEnough, "planned", 45, {"no gap"}),
    (mutants.ResetsWhileBucketsMove, "planned", 0, {"no reset"}),
    (mutants.BelievesTheDirtOfOtherSettings, "reshaping", 0, {"no reset"}),
    (mutants.TakesGroupsByTheirNumber, "reshaping", 0, {"one taker"}),
]


def part_of(mutant):
    """Give the argument of a world that puts a mutant in its place."""
    if not isinstance(mutant, type):
        return {"next_boot": mutant}
    return {"share" if issubclass(mutant, KernelShare) else "membership": mutant}


def first_caught(mutant, kind, first):
    """Give the first seed in whose history a mutant breaks a promise, and that promise; None if none does."""
    for seed in range(first, first + MOST):
        violations = World(draw(seed, kind=kind), **part_of(mutant)).run().observer.violations
        if violations:
            return seed, violations[0].promise
    return None


def described():
    """Write the list, with what happens now."""
    lines = [HEAD]
    for mutant, kind, first, _ in CAUGHT:
        seed, promise = first_caught(mutant, kind, first)
        what = " ".join(mutant.__doc__.split())
        lines.append(f"| {what} | `{mutant.__name__}` | {kind} | {seed + 1} | {promise} |")
    lines += ["", UNSEEN, "", "## Kinds of histories", "", "| Kind | What happens |", "|---|---|"]
    lines += [f"| {kind} | {what.__doc__.splitlines()[0]} |" for kind, what in KINDS.items()]
    return "\n".join(lines) + "\n"


def all_described():
    """Write the whole page."""
    return f"{described()}\n{settings_reach.described()}\n{applying_reach.described()}"


HEAD = """\
# What the simulation notices

Each rule of the protocol is broken on purpose, and the simulation must see a promise of
[the design](design.md#what-is-promised) broken. The whole protocol keeps it in the same histories. `tests/simulation`
has the mutants; this page is written by `PYTHONPATH=tests python -m simulation.reach`, and `make soak` compares it with
what happens. *Histories* is how many of that kind, from the first seed on, it takes at most.

| Rule as the mutant has it | Mutant | Kind | Histories | Promise seen broken |
|---|---|---|---|---|"""


UNSEEN = """\
## What it does not notice

Some rules save datagrams, and no promise is known to break without them: a claim that waits asks again and again, and
answers have a least distance."""


if __name__ == "__main__":
    LIST.write_text(all_described())
