"""How the Clients page names what a filter does with packets, and how they reach it; to be translated."""

from typing import Final

from hcsidecar.core.console.translatable import text as _

ACTION_WORDS: Final = {
    "pass": _("left alone"),
    "take": _("taken here"),
    "reset": _("taken here, answered with a reset"),
    "forward": _("sent to the node that takes them"),
    "chain": _("sent to nodes that may know the connection"),
    "drop": _("dropped"),
}
"By the name of an `Action` of `l2mode.core.reasons`."

DELIVERY_WORDS: Final = {
    "directed": _("reaches one node, the director"),
    "flooded": _("reaches every node"),
}
"By the name of a `Delivery` of `l2mode.core.verdict`."
