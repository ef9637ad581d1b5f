"""Where a person who waits sees what is being measured just now."""

import sys
import time


def say(text: str) -> None:
    """Write a line of progress to standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
