"""`hcsidecar ca`: makes the certificate authority of a farm, as `init` does, and shows it."""

import msgspec
import typer

from hcsidecar.cli.farm import AsJson, Config, give_up, load_or_exit, refuse
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import find_config, see

ca = typer.Typer(help="Make the farm's certificate authority, or show it.", no_args_is_help=True)


@ca.callback()
def _group() -> None:
    """Make the farm's certificate authority, or show it."""


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


@ca.command(name="show")
def show_authority(config: Config = None, *, as_json: AsJson = False) -> None:
    """Show the farm's certificate authority on this machine: its fingerprint and its certificate, in PEM.

    Whoever trusts this certificate trusts the console of each node; every console gives it away at /ca.pem. Compare the
    fingerprint with that of the certificate which you have got, before you trust it. Nothing of this is secret.

    Exit status: 0 shown, 1 there is none, 2 the farm file is wrong.

    Example: hcsidecar ca show >apache-ca.pem
    """
    from hcsidecar.joining.authority import AuthorityError, read_authority  # noqa: PLC0415 - it loads X.509

    path = find_config(config)
    # Without the key file, which not everybody may read who may read this.
    seen = see(path)
    if seen.farm is None:
        give_up(str(path), seen.problems)
    farm = seen.farm.farm
    try:
        report = read_authority(AuthorityFiles.beside(path.absolute().parent / farm.key_file), farm=farm.name)
    except AuthorityError as error:
        refuse(str(error))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
        return
    ends = "without an end" if report.ends is None else f"until {report.ends}"
    typer.echo(f"farm     {report.farm}\nname     {report.name}\nfile     {report.file}")
    typer.echo(f"valid    from {report.begins}, {ends}\nSHA-256  {report.sha256}\n\n{report.certificate}", nl=False)


def make_authority(farm: str, files: AuthorityFiles) -> None:
    """Write a new authority. Raise FileExistsError if there is one, or OSError if the system refuses."""
    from hcsidecar.joining.authority import Authority  # noqa: PLC0415 - it loads X.509, which few commands need

    Authority.create(farm).write(files)
