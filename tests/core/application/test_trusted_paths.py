import stat

import pytest

from hcsidecar.core.application.trusted_paths import PathStep, UntrustedPath, why_not_trusted

DIRECTORY, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
ROOT, OURS, THEIRS = 0, 1000, 1001
SHARED = ("/shared", DIRECTORY | 0o1777, ROOT)


def refusal(*way):
    steps = [
        PathStep(path=path, mode=mode, owner=owner) for path, mode, owner in (("/", DIRECTORY | 0o755, ROOT), *way)
    ]
    return why_not_trusted(steps, {ROOT, OURS})


@pytest.mark.parametrize(
    "way",
    [
        [("/bin", DIRECTORY | 0o755, ROOT), ("/bin/start", FILE | 0o755, ROOT)],
        [("/bin", DIRECTORY | 0o700, OURS), ("/bin/start", FILE | 0o500, OURS)],
        [("/bin", LINK | 0o777, ROOT), ("/usr", DIRECTORY | 0o755, ROOT), ("/usr/start", FILE | 0o755, OURS)],
        [SHARED, ("/shared/ours", DIRECTORY | 0o700, OURS), ("/shared/ours/start", FILE | 0o755, OURS)],
    ],
)
def test_a_script_that_only_root_or_we_can_change_is_trusted(way):
    assert refusal(*way) is None


@pytest.mark.parametrize(
    ("way", "message", "hint"),
    [
        ([("/start", FILE | 0o757, ROOT)], "may be written by others than its owner", "chmod go-w /start"),
        ([("/start", FILE | 0o775, OURS)], "may be written by others than its owner", "chmod go-w /start"),
        ([("/start", FILE | 0o755, THEIRS)], "belongs to another user (uid 1001)", "chown root /start"),
        (
            [("/srv", DIRECTORY | 0o775, ROOT), ("/srv/start", FILE | 0o755, ROOT)],
            "is reached by /srv, which may be written by others than its owner",
            "chmod go-w /srv",
        ),
        (
            [("/home", DIRECTORY | 0o755, THEIRS), ("/home/start", FILE | 0o755, ROOT)],
            "is reached by /home, which belongs to another user (uid 1001)",
            "chown root /home",
        ),
        (
            [("/link", LINK | 0o777, THEIRS), ("/start", FILE | 0o755, ROOT)],
            "is reached by /link, which belongs to another user (uid 1001)",
            "chown -h root /link",
        ),
        (
            [SHARED, ("/shared/start", FILE | 0o755, ROOT)],
            "is in a directory where everybody can create files",
            "move /shared/start into a directory of its own",
        ),
        (
            [SHARED, ("/shared/link", LINK | 0o777, ROOT), ("/start", FILE | 0o755, ROOT)],
            "is reached by /shared/link, which is in a directory where everybody can create files",
            "move /shared/link into a directory of its own",
        ),
        (
            [SHARED, ("/shared/theirs", DIRECTORY | 0o755, THEIRS), ("/shared/theirs/start", FILE | 0o755, ROOT)],
            "is reached by /shared/theirs, which belongs to another user (uid 1001)",
            "chown root /shared/theirs",
        ),
        ([("/start", FILE | 0o1777, ROOT)], "may be written by others than its owner", "chmod go-w /start"),
    ],
)
def test_a_script_that_somebody_else_could_change_is_refused_with_the_remedy(way, message, hint):
    assert refusal(*way) == UntrustedPath(message=message, hint=hint)


def test_a_refusal_reads_as_a_sentence():
    assert (
        str(UntrustedPath(message="is not executable", hint="chmod +x /start")) == "is not executable: chmod +x /start"
    )
