"""Refusals by the kernel, in words that tell the operator what to do."""

import errno
from typing import Final

_NO_MORE: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def is_exhaustion(error: BaseException | None) -> bool:
    """Return whether the system lacks descriptors, processes or memory, which says nothing about the request itself."""
    return isinstance(error, OSError) and error.errno in _NO_MORE


class FilterError(Exception):
    """Layer-2 mode cannot work here: `problem` says why, `remedy` what the operator can do.

    `last_words` are lines that only the authors of the filter understand; they are logged at level debug. `passing` is
    True if the problem ends without intervention, where the network is only slow to come up.
    """

    def __init__(self, problem: str, remedy: str, *, last_words: tuple[str, ...] = (), passing: bool = False) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.last_words = last_words
        self.passing = passing
