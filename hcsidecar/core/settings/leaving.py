"""How long a node that is removed from the farm while it lives may take before it is out."""

from typing import Final

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.settings.messages import LONGEST_DRAIN

HAND_OVER: Final = 5.0
"Seconds for the others to take over its clients, whatever the limit of a drain."


def leave_limit(farm: FarmFile) -> float:
    """Return the seconds that the drain may last by the farm file in force, with the time to hand clients over."""
    application = farm.application
    drain = farm.health.lame_duck
    if application is not None and application.drain is not None:
        drain = application.drain
    return min(drain + HAND_OVER, LONGEST_DRAIN)
