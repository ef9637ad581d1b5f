"""What stands in a filter's table for a bucket, beside the number of the node that owns it (0 to 63)."""

from typing import Final

from l2mode.core.buckets import BUCKETS

PENDING: Final = 64
"Given to this node by the view, and not claimed."
PASS_ON: Final = 128
"Added to the owner's number on a node that is out of the view: the owner by the view that the others announce."
NOBODY: Final = 255
"There is none: as owner, as director, as rule."

ANYWHERE: Final = (1 << BUCKETS) - 1
"As a mask of buckets: all of them."
