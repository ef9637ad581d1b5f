"""What the tests of this room have in common."""

from pathlib import Path

import pytest
from settings.memory import in_memory


@pytest.fixture
def memory():
    """A directory where flushing to the disk takes no time."""
    with in_memory() as directory:
        yield Path(directory)
