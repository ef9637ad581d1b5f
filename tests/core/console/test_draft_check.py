"""Checking a draft of settings without a node."""

from hcsidecar.core.console.draft_check import check_draft

FARM = """[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
"""


def told(text, **files):
    return [str(problem) for problem in check_draft({"farm.toml": text.encode(), **files}).problems]


def test_a_right_draft_has_no_problem():
    assert told(FARM) == []


def test_every_problem_is_told_at_once_with_its_path_and_line():
    text = FARM + '[health]\npath = "/"\n[[check]]\ntype = "tcp"\nname = "A"\naddress = "127.0.0.1"\nport = 99999\n'
    found = check_draft({"farm.toml": text.encode()}).problems
    assert [(each.file, each.path, each.line) for each in found] == [
        ("farm.toml", "health.path", 7),
        ("farm.toml", "check[1].port", 12),
    ]
    assert all(each.message for each in found)


def test_what_is_no_toml_is_told_with_its_line():
    (problem,) = check_draft({"farm.toml": b"[farm]\nname = \n"}).problems
    assert (problem.line, problem.path) == (2, "")
    assert str(problem).startswith("farm.toml, line 2: is not TOML")


def test_what_ends_too_soon_is_told_with_the_last_line():
    (problem,) = check_draft({"farm.toml": b"[farm]\nname = 1\n[node"}).problems
    assert problem.line == 3


def test_a_problem_of_the_whole_file_has_no_line():
    (problem,) = check_draft({"farm.toml": b"\xef\xbb\xbf"}).problems
    assert str(problem).startswith("farm.toml: is UTF-8 with a byte order mark")


def test_a_script_that_is_not_in_the_draft_is_missed():
    text = FARM + '[application]\nstart = "bin/start"\nstop = "bin/stop"\n'
    assert told(text, **{"bin/stop": b""}) == [
        "farm.toml, line 7: application.start: there is no file bin/start in the draft (add it, or name another one)"
    ]


def test_a_draft_without_farm_file_and_with_a_name_that_leads_elsewhere_says_so():
    found = [str(problem) for problem in check_draft({"../x": b""}).problems]
    assert found == ["farm.toml is missing", "'../x' is not a plain path below the directory of the farm file"]
