"""Holds the manual's page on changes to the table of effects."""

from itertools import groupby
from pathlib import Path

from hcsidecar.core.farmfile.reference import file_keys
from hcsidecar.core.settings.key_effects import KEY_EFFECTS, ChangeEffect

PAGE = Path(__file__).parents[2] / "docs" / "manual" / "changing.md"
WHOLE = {"node", "check", "target", "notify", "l2.vip", "l2.share"}
"Tables that may stand several times."


def table_of(key):
    return key if key in WHOLE else key.rpartition(".")[0]


def name_of(key):
    """Write a key as the page does: a whole table in its brackets, a key by itself."""
    if key in WHOLE:
        return f"`[[{key}]]`"
    if any(other.startswith(f"{key}.") for other in KEY_EFFECTS):
        return f"`[{key}]`"
    return f"`{key.rpartition('.')[2]}`"


def heading_of(table):
    return f"`[[{table}]]`" if table in WHOLE else f"`[{table}]`"


def expected_rows():
    """Give a row for each run of keys of one table that are taken alike."""
    for (table, effect), keys in groupby(file_keys(), key=lambda key: (table_of(key), KEY_EFFECTS[key])):
        names = [name_of(key) for key in keys]
        whole = [name for name in names if name.startswith("`[")]
        below = [name for name in names if not name.startswith("`[")]
        yield ", ".join(whole + ([f"{heading_of(table)} {', '.join(below)}"] if below else [])), effect


def expected_table():
    lines = ["| key | effect | nodes | mind |", "| --- | --- | --- | --- |"]
    for keys, effect in expected_rows():
        lines.append(f"| {keys} | {effect.effect} | {effect.touches} | {effect.note} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_table_of_effects_whole():
    assert expected_table() in PAGE.read_text(), "write it anew:\n" + expected_table()


def test_the_page_says_what_each_effect_means():
    text = PAGE.read_text()
    assert all(f"\n| {effect} | " in text for effect in ChangeEffect)
