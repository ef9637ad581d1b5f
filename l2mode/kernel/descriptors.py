"""A check for free file descriptors before an operation that ends badly if it runs out of them."""

import os


def ensure_descriptors(count: int) -> None:
    """Raise OSError if the process cannot open `count` more files.

    pyroute2, and an event loop that was created in part, complain on standard error when they are discarded.
    """
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for number in opened:
            os.close(number)
