"""Paths with parts in braces."""

import pytest

from hcsidecar.core.console.paths import path_parameters
from hcsidecar.core.console.translatable import text


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("/", "/", {}),
        ("/farm/{node}/card", "/farm/web1/card", {"node": "web1"}),
        ("/farm/{node}/card", "/farm/web1", None),
        ("/farm/{node}/card", "/farm/web1/cards", None),
        ("/farm", "/farms", None),
    ],
)
def test_a_path_is_compared_part_by_part(pattern, path, found):
    assert path_parameters(pattern.split("/"), path.split("/")) == found


def test_a_text_for_the_catalogues_stays_as_it_is():
    assert text("Ready") == "Ready"
