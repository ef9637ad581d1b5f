"""How a program ended, in words."""

import signal


def how_it_ended(status: int) -> str:
    """Word an exit status, or, if it is negative, the signal that killed the program."""
    return f"killed by {signal_name(-status)}" if status < 0 else f"exit status {status}"


def signal_name(number: int) -> str:
    """Name a signal as kill(1) does."""
    if hasattr(signal, "SIGRTMIN") and signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    try:
        return signal.Signals(number).name
    except ValueError:  # those that the C library has taken for itself
        return f"signal {number}"
