"""The simulation is held to its work: each rule of the protocol, broken on purpose, must be caught by its promises.

The unbroken protocol lives through the very history that catches the mutant.
"""

import pytest
from simulation import mutants
from simulation.histories import draw
from simulation.run import account
from simulation.world import World

from hcsidecar.core.membership import Membership

PATIENCE = 120
"Histories of the kind in which a mutant may hide; the slowest is caught within 50."

CAUGHT_BY = {
    "ViewIsProof": "flicker",
    "HearingIsProof": "tangle",
    "MembersAreEverybody": "tangle",
    "EndlessPatience": "tangle",
    "LeaseCountsSends": "doze",
    "NoLease": "doze",
    "NoGuard": "bad luck",
    "WakesAsIfNothingHappened": "doze",
    "JudgesNobodyWhileLate": "struggle",
    "WantsBeforeListening": "planned",
    "OneFarewell": "farewell",
    "OneEarOfTwo": "bad luck",
    "NeverYields": "tangle",
    "OwnFarmFileCounts": "storm",
    "NoAnswers": "planned",
    "OldFilterStaysOpen": "storm",
    "DropsWithTheClaim": "planned",
    "HidesItsDirt": "planned",
}


@pytest.mark.parametrize(("name", "kind"), CAUGHT_BY.items())
def test_a_broken_rule_is_caught_and_the_whole_protocol_is_not(name, kind):
    mutant = getattr(mutants, name)
    place = "membership" if issubclass(mutant, Membership) else "share"
    for seed in range(PATIENCE):
        scenario = draw(seed, kind=kind)
        if World(scenario, **{place: mutant}).run().observer.violations:
            whole = World(scenario).run()
            assert not whole.observer.violations, account(whole)
            return
    raise AssertionError(f"{name} got through {PATIENCE} histories of kind {kind}: {mutant.__doc__}")
