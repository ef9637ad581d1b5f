"""`hcsidecar ca`: makes the certificate authority of a farm, as `init` does."""

import typer

from hcsidecar.cli.farm import Config, load_or_exit, refuse
from hcsidecar.farmfile.certificate_files import AuthorityFiles

ca = typer.Typer(help="Make the farm's certificate authority.", no_args_is_help=True)


@ca.callback()
def _group() -> None:
    """Make the farm's certificate authority."""


@ca.command(name="new")
def new_authority(config: Config = None) -> None:
    """Make the certificate authority of a farm that has none: ca.pem and ca.key beside the key file.

    Run it once, on one node. Then copy both files to all other nodes, beside their key files and over a secure channel,
    ca.key with mode 0600. Each node that has them makes its own certificate within seconds and speaks TLS on its web
    port, beside plain HTTP.

    Exit status: 0 made, 1 there is one, or it cannot be written, 2 the farm file is wrong.
    """
    loaded = load_or_exit(config)
    files = AuthorityFiles.beside(loaded.key_file)
    try:
        make_authority(loaded.farm.farm.name, files)
    except FileExistsError:
        refuse(f"{files.key.parent} has an authority already, and it is not overwritten")
    except OSError as error:
        refuse(f"{error.filename or files.key}: {error.strerror}")
    typer.echo(f"made {files.certificate} and {files.key}")
    nodes = ", ".join(node.name for node in loaded.farm.node)
    typer.echo(f"next: copy both beside the key file on all nodes, {files.key.name} with mode 0600: {nodes}")


def make_authority(farm: str, files: AuthorityFiles) -> None:
    """Write a new authority. Raise FileExistsError if there is one, or OSError if the system refuses."""
    from hcsidecar.joining.authority import Authority  # noqa: PLC0415 - it loads X.509, which few commands need

    Authority.create(farm).write(files)
