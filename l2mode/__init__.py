"""Layer-2 mode: servers on one network share a virtual IP, each taking its share of the clients."""

from typing import Final

KERNEL_RECORD: Final = "kernel.json"
"The file in the state directory in which `l2mode.kernel.record` writes down what it changes in the kernel."
