"""A reader of the packet queue that is as slow as on a slow machine, whatever else this one does."""

_AT_START = """
import time
from l2mode.core import classify as module
classify = module.classify
def slow(*arguments, **more):
    time.sleep({seconds})
    return classify(*arguments, **more)
module.classify = slow
"""


def slow_readers(directory, monkeypatch, *, seconds):
    """Let every reader that is started from now on take so long for a verdict, besides what it takes anyway."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_AT_START.format(seconds=seconds))
    monkeypatch.setenv("PYTHONPATH", str(directory))
