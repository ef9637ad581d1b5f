"""Another application in the text of a farm file."""

import pytest

from hcsidecar.core.farmfile.application_tables import NotReplacedError, with_application

FARM = '[farm]\nname = "a"  # ours\n\n# The first.\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'
NEW = '[application]\nstart = "bin/a"\nstop = "bin/b"\n'


def test_a_farm_without_application_gets_one_after_all_else():
    assert with_application(FARM, NEW) == f"{FARM}\n{NEW}"


def test_the_tables_of_the_former_application_go_and_all_else_stays_with_its_comments():
    text = (
        '[application]\nstart = "x"\nstop = "y"\n[application.environment]\nA = "1"\n\n# The first check.\n'
        f'[[check]]\ntype = "tcp"\n# ports\n[l2]\n[[l2.vip]]\naddress = "192.0.2.50"\n# About the farm.\n{FARM}'
        '[[check]]\ntype = "tcp"\n# the end\n'
    )
    assert with_application(text, NEW) == f"# The first check.\n# ports\n# About the farm.\n{FARM}\n{NEW}"


@pytest.mark.parametrize("text", ["check = []\n[farm]\n", "[farm\n", '[farm]\nname = """\n[check]\n"""\n'])
def test_a_file_that_is_written_otherwise_is_refused_with_what_to_do(text):
    with pytest.raises(NotReplacedError, match="in the editor"):
        with_application(text, NEW)
