"""The `hcsidecar` command."""

from hcsidecar.cli import app
from hcsidecar.cli.streams import standard_streams


def main() -> None:
    """Run the command line."""
    with standard_streams():
        app(prog_name="hcsidecar")


if __name__ == "__main__":
    main()
