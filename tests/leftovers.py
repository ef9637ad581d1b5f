"""What a test's programs have left running."""

from pathlib import Path


def living_below(directory):
    """The processes whose working directory lies there, or lay there before it was removed."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "cwd").readlink().is_relative_to(directory):
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile, or is not ours
            continue
    return found
