"""The `hcsidecar` command."""

from hcsidecar.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="hcsidecar")


if __name__ == "__main__":
    main()
