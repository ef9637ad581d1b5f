"""Switches off the garbage collector while the daemon is imported. Imported first, for this effect.

The collector would examine again and again what stays until the end: a seventh of the processor time of the start.
"""

import gc

gc.disable()
