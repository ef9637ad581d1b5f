"""`hcsidecar metrics`: prints the metrics of a node as text, for node_exporter's textfile collector and for people."""

import typer

from hcsidecar.api.client import ClientError
from hcsidecar.cli.asking import OneNode, choose, run
from hcsidecar.cli.farm import Config, refuse


def metrics(config: Config = None, node: OneNode = None) -> None:
    """Print the metrics of a node in the text format of Prometheus, the same as /metrics on its web listener.

    This is for machines on which Prometheus reaches only node_exporter: let a timer write the metrics to a file for its
    textfile collector. Write to another name and rename the file, so that the collector never reads half of it.

    Exit status: 0 printed, 1 the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar metrics > /tmp/hcsidecar.prom
    """
    # Imported here because no other command needs the library.
    from hcsidecar.web.exposition import render  # noqa: PLC0415

    try:
        families = run(choose(config, node).clients[0].metrics())
    except ClientError as error:
        refuse(str(error))
    typer.echo(render(families).text.decode(), nl=False)
