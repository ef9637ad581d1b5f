"""Drafts of settings that a console keeps."""

from hcsidecar.core.console.kept_drafts import DRAFT_LASTS, MOST_DRAFTS, KeptDrafts, SettingsDraft
from hcsidecar.core.console.settings_draft import DraftFile


def draft(text="[farm]\n"):
    return SettingsDraft(files=(DraftFile(name="farm.toml", text=text, executable=False),))


def test_a_draft_is_kept_for_its_person_alone_until_it_is_dropped():
    drafts = KeptDrafts()
    drafts.keep("alice", draft(), now=0)
    assert drafts.of("alice", now=1) == draft()
    assert drafts.of("bob", now=1) is None
    drafts.drop("alice")
    drafts.drop("bob")
    assert drafts.of("alice", now=1) is None


def test_a_draft_that_nobody_touches_is_forgotten():
    drafts = KeptDrafts()
    drafts.keep("alice", draft(), now=0)
    drafts.keep("alice", draft("# later\n"), now=10)
    assert drafts.of("alice", now=DRAFT_LASTS + 9) == draft("# later\n")
    assert drafts.of("alice", now=DRAFT_LASTS + 10) is None


def test_the_draft_that_was_touched_least_lately_goes_first():
    drafts = KeptDrafts()
    for number in range(MOST_DRAFTS):
        drafts.keep(f"user{number}", draft(), now=number)
    drafts.keep("user0", draft(), now=100)
    drafts.keep("another", draft(), now=101)
    assert drafts.of("user0", now=102) is not None
    assert drafts.of("user1", now=102) is None


def test_a_draft_gives_the_contents_of_text_and_of_other_files():
    files = (DraftFile(name="a", text="é", executable=False), DraftFile(name="b", text=None, executable=False))
    assert SettingsDraft(files=files, binary={"b": b"\xff"}).contents == {"a": "é".encode(), "b": b"\xff"}
