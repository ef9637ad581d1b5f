"""The values of a cell, a bucket's byte in the filter's table, other than the number of the owning node (0 to 63)."""

from typing import Final

from l2mode.core.buckets import BUCKETS

PENDING: Final = 64
"The view gives the bucket to this node, which has not claimed it yet."
PASS_ON: Final = 128
"Added to the owner's number on a node that is out of the view; the owner is that of the view the others announce."
NOBODY: Final = 255
"No owner, no director, or no rule."

ANYWHERE: Final = (1 << BUCKETS) - 1
"The mask of all buckets."
