"""The table of the manual is what the tests of the virtual machines have seen."""

from vm import seen

SEEN = {
    "6.12": {
        "release": "6.12.9",
        "accelerator": "kvm",
        "date": "2026-11-30",
        "checks": {"directed, tc: 20 MB": {"up": "8.1 MB/s", "down": "83 MB/s"}},
    },
    "6.1": {
        "release": "6.1.0-57",
        "accelerator": "tcg",
        "date": "2026-11-29",
        "checks": {"directed, tc: machine killed": {"": "0 of 410 failed"}},
    },
}


def test_the_table_in_the_manual_is_what_was_seen():
    assert seen.in_manual(seen.MANUAL.read_text(), seen.load()) == seen.MANUAL.read_text()


def test_older_kernels_come_first_and_what_was_not_seen_is_left_open():
    assert seen.table(SEEN) == (
        "| Linux | 6.1.0-57 | 6.12.9 |\n"
        "| --- | --- | --- |\n"
        "| seen | 2026-11-29, emulated (TCG) | 2026-11-30, KVM |\n"
        "| directed, tc: 20 MB | – | up 8.1 MB/s, down 83 MB/s |\n"
        "| directed, tc: machine killed | 0 of 410 failed | – |\n"
    )


def test_only_what_is_between_the_marks_changes():
    manual = f"before\n{seen.BEGIN}old\n{seen.END}after\n"
    found = seen.in_manual(manual, SEEN)
    assert found.startswith(f"before\n{seen.BEGIN}\n|")
    assert found.endswith(f"|\n\n{seen.END}after\n")
    assert "old" not in found
