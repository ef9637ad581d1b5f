"""The `hcsidecar` command."""

import sys

from hcsidecar.daemon.launch import become_the_daemon, daemon_options


def main() -> None:
    """Run the command line, or without it what needs none: `hcsidecar run`."""
    if sys.argv[1:2] == ["run"] and daemon_options(sys.argv[2:]) is not None:
        become_the_daemon(sys.argv[2:])
    from hcsidecar.cli import app  # noqa: PLC0415 - half a second of a slow processor
    from hcsidecar.system.streams import standard_streams  # noqa: PLC0415 - as above

    with standard_streams():
        app(prog_name="hcsidecar")


if __name__ == "__main__":
    main()
