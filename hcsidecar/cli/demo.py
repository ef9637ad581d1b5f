"""`hcsidecar demo`: a farm on this machine to try, live or as an unattended story."""

import sys
from typing import Annotated

import typer

NOT_UP = 2


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(demo)


def demo(
    script: Annotated[bool, typer.Option("--script", help="Play a story unattended, and judge it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --script: print the report as JSON.")] = False,
) -> None:
    """Try hcsidecar: three web servers behind HAProxy on this machine, with clients that count their requests.

    It shows live which servers are Ready, how many requests each gets, and what has just happened. Keys stop a server
    gently, kill it and bring it back. With --script it does this by itself (all up, one stopped gently, one killed,
    both brought back) and reports what a client saw. It needs HAProxy and nginx (or Apache), runs without root on
    loopback addresses, and leaves nothing behind.

    As root it puts the servers into network namespaces, on a bridge with 24 clients that also reach them through a
    virtual IP, and each daemon starts its web server with scripts. Keys then also cut a server's link, freeze its
    daemon, let its web server hang, or change its power. --script then also drains and resumes a server, and lets a web
    server hang until its daemon has restarted it.

    Exit status: 0 all went well, and with --script every promise was kept; 1 a promise was broken; 2 the farm could
    not be started; 128 plus the number of a signal, the story was interrupted.

    Example: hcsidecar demo --script
    """
    if as_json and not script:
        raise typer.BadParameter("goes with --script", param_hint="--json")
    if sys.platform != "linux":
        typer.echo("the demo needs Linux, for its many loopback addresses", err=True)
        raise typer.Exit(NOT_UP)
    # Imported here because no other command needs it, and other systems cannot import it.
    from hcsidecar.demo.main import play_story, show_live  # noqa: PLC0415

    raise typer.Exit(play_story(as_json=as_json) if script else show_live())
