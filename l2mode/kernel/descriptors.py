"""Whether this process may open as many files as something needs that ends badly when it is cut short."""

import os


def ensure_descriptors(count: int) -> None:
    """Raise OSError when there are not so many.

    pyroute2, and an event loop that comes half into being, complain on the standard error when they are thrown away.
    """
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for number in opened:
            os.close(number)
