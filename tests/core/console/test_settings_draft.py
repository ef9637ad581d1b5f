"""Settings that somebody edits in the browser."""

import pytest

from hcsidecar.core.console.settings_draft import (
    LONGEST_FILE,
    DraftFile,
    DraftForm,
    draft_files,
    draft_of,
    farm_in,
    text_of,
    uploaded,
)


def test_a_draft_is_what_the_form_says_with_the_farm_file_first():
    form = DraftForm(
        name=("check.sh", "farm.toml"), content=("#!/bin/sh\r\ntrue\r\n", "[farm]\r\n"), executable=("check.sh", "logo")
    )
    assert draft_of(form) == [
        DraftFile(name="farm.toml", text="[farm]\n", executable=False),
        DraftFile(name="check.sh", text="#!/bin/sh\ntrue\n", executable=True),
    ]


def test_a_file_is_removed_added_or_stays_as_it_is():
    form = DraftForm(
        name=("farm.toml", "old.sh"),
        content=("[farm]\n", ""),
        removed=("old.sh",),
        kept=("logo.png",),
        executable=("logo.png",),
        new_name=" new.sh ",
    )
    assert draft_of(form) == [
        DraftFile(name="farm.toml", text="[farm]\n", executable=False),
        DraftFile(name="logo.png", text=None, executable=True),
        DraftFile(name="new.sh", text="#!/bin/sh\nset -eu\n", executable=True),
    ]


def test_a_file_is_renamed_and_stays_executable():
    form = DraftForm(
        name=("farm.toml", " bin/go "), former=("farm.toml", "bin/start"), content=("", "x"), executable=("bin/start",)
    )
    assert draft_of(form)[1] == DraftFile(name="bin/go", text="x", executable=True)


def test_a_file_takes_the_name_of_one_that_is_removed():
    form = DraftForm(name=("b", "b"), former=("a", "b"), content=("x", "y"), removed=("b",))
    assert draft_of(form) == [DraftFile(name="b", text="x", executable=False)]


def test_a_file_that_is_no_text_can_be_removed():
    assert draft_of(DraftForm(kept=("a.bin", "b.bin"), removed=("a.bin",))) == [
        DraftFile(name="b.bin", text=None, executable=False)
    ]


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (DraftForm(name=("a", "b"), content=("",)), "not as many contents"),
        (DraftForm(name=("a",), content=("",), former=("a", "b")), "not as many contents"),
        (DraftForm(name=("a", "a"), content=("", "")), "two files have one name"),
        (DraftForm(name=("a",), content=("",), kept=("a",)), "two files have one name"),
        (DraftForm(name=("farm.toml",), content=("",), new_name=" farm.toml "), "there is a file 'farm.toml' already"),
    ],
)
def test_a_form_that_is_not_right_says_why(form, why):
    assert why in draft_of(form)


def test_the_files_are_uploaded_with_the_contents_that_were_kept():
    files = uploaded(
        [DraftFile(name="farm.toml", text="é\n", executable=False), DraftFile(name="x", text=None, executable=True)],
        {"x": b"\xff"},
    )
    assert [(file.name, file.content, file.executable) for file in files] == [
        ("farm.toml", "é\n".encode(), False),
        ("x", b"\xff", True),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[farm]\n\tx", "[farm]\n\tx"),
        (b"", ""),
        (b"\xff\xfe", None),
        (b"a\r\nb", None),
        (b"a\0b", None),
        (b"x" * (LONGEST_FILE + 1), None),
    ],
    ids=["text", "empty", "no UTF-8", "CR", "NUL", "too long"],
)
def test_what_a_browser_would_not_give_back_as_it_was_is_no_text(content, text):
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("farm.toml", "", "toml"),
        ("check.py", "", "python"),
        ("check", "#!/usr/bin/env python3\n", "python"),
        ("check", "#!/bin/sh\n# no python\n", "shell"),
        ("logo.png", None, "shell"),
    ],
)
def test_a_file_is_coloured_by_its_language(name, text, language):
    assert DraftFile(name=name, text=text, executable=False).language == language


def test_files_that_are_no_text_are_kept_beside_the_draft():
    files, binary = draft_files({"logo": (b"\xff", False), "farm.toml": (b"[farm]\n", False)})
    assert [(file.name, file.text) for file in files] == [("farm.toml", "[farm]\n"), ("logo", None)]
    assert binary == {"logo": b"\xff"}


def test_the_farm_of_a_draft_is_read_where_it_can_be():
    right = '[farm]\nname = "a"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'
    found = [
        farm_in([DraftFile(name="farm.toml", text=text, executable=False)]) for text in (right, "[farm]", "[", None)
    ]
    assert [farm is not None for farm in found] == [True, False, False, False]
    assert farm_in([]) is None
