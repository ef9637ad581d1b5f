"""The Pythons that are on this machine."""

import shutil
import subprocess
from pathlib import Path


def python_here(series):
    """Find a Python of this series that can make virtual environments, pyenv's too; None if there is none."""
    named = shutil.which(f"python{series}")
    found = [named] if named else []
    found += sorted(Path.home().glob(f".pyenv/versions/{series}.*/bin/python{series}"))
    return next((str(python) for python in found if _runs(python)), None)


def _runs(python):
    asked = subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, timeout=60, check=False)
    return asked.returncode == 0
