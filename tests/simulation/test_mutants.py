"""Does the simulation notice? The protocol is broken in one rule at a time, and a promise must be seen broken.

The observer and the promises are those of all other histories, and the whole protocol keeps them in the very
histories in which the mutant is caught.
"""

import pytest
from simulation import mutants
from simulation.histories import draw
from simulation.machine import KernelShare
from simulation.run import account
from simulation.world import World

MOST = 30
"Histories within which a mutant must be caught."

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
    (mutants.StaysInThoughRefused, "double", 0, {"one taker", "a name serves once", "views agree"}),
    (mutants.GoesOnAfterASnapshot, "rebirth", 0, {"one taker", "views agree"}),
    (mutants.GoesByItsOwnTiming, "retiming", 0, {"one taker", "views agree"}),
    (mutants.ListensByItsOwnTiming, "retiming", 0, {"one taker", "one taker after quiet"}),
    (mutants.LeaseOfMembersOnly, "misfortune", 40, {"one taker"}),
    (mutants.LeaseOfWhoWasJustHeard, "misfortune", 0, {"one taker"}),
    (mutants.ForgetsTheGuardOfOthers, "misfortune", 0, {"one taker"}),
    (mutants.IgnoresWhoDoesNotListIt, "awakening", 0, {"one taker"}),
    (mutants.ListensOnlyOnceAlone, "awakening", 0, {"one taker"}),
    (mutants.DoesNotListen, "awakening", 0, {"one taker"}),
    (mutants.MinoritiesServe, "storm", 10, {"views agree"}),
    (mutants.NoLease, "doze", 0, {"one taker"}),
    (mutants.NoGuard, "bad luck", 0, {"one taker"}),
    (mutants.WakesAsIfNothingHappened, "doze", 0, {"one taker"}),
    (mutants.JudgesNobodyWhileLate, "struggle", 0, {"short moves"}),
    (mutants.WantsBeforeListening, "planned", 0, {"short moves", "no silence"}),
    (mutants.OneFarewell, "farewell", 0, {"short moves"}),
    (mutants.OneEarOfTwo, "struggle", 0, {"only its buckets move"}),
    (mutants.NeverYields, "patchwork", 0, {"a taker after quiet"}),
    (mutants.ComesBackAtOnce, "mosaic", 0, {"views settle"}),
    (mutants.OwnFarmFileCounts, "rollout", 0, {"views agree"}),
    (mutants.TellsWithTheNextBeat, "planned", 0, {"short moves"}),
    (mutants.SaysItEachPulse, "stutter", 0, {"short moves"}),
    (mutants.SaysBeforeClosing, "labour", 0, {"one taker", "no reset"}),
    (mutants.BlamesOthersForItsSleep, "nap", 0, {"short moves"}),
    (mutants.ProposesEachNewcomerAtOnce, "rush", 0, {"few views"}),
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
]


@pytest.mark.parametrize(("mutant", "kind", "first", "promises"), CAUGHT, ids=[row[0].__name__ for row in CAUGHT])
def test_the_simulation_notices_the_mutant(mutant, kind, first, promises):
    broken_part = {"share" if issubclass(mutant, KernelShare) else "membership": mutant}
    for seed in range(first, first + MOST):
        scenario = draw(seed, kind=kind)
        whole = World(scenario).run()
        assert not whole.observer.violations, account(whole)
        caught = World(scenario, **broken_part).run().observer.violations
        if caught:
            assert caught[0].promise in promises
            return
    pytest.fail(f"{mutant.__name__} was not caught in {MOST} histories of the kind {kind}: {mutant.__doc__}")


def test_every_mutant_is_tried():
    written = {
        thing
        for name, thing in vars(mutants).items()
        if isinstance(thing, type) and thing.__module__ == mutants.__name__ and not name.startswith("_")
    }
    assert {row[0] for row in CAUGHT} == written
    assert len(written) >= 10
