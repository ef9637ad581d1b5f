"""Lets the garbage collector rest while the daemon is loaded: imported first, for its effect.

It would look again and again through what stays for good, which is a seventh of the start's time on a processor.
"""

import gc

gc.disable()
