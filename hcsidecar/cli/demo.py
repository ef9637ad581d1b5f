"""`hcsidecar demo`: a farm to try on this machine, live or as a story."""

import sys
from typing import Annotated

import typer

NOT_UP = 2


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(demo)


def demo(
    script: Annotated[bool, typer.Option("--script", help="Play a story unattended, and judge it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --script: print the report as JSON.")] = False,
) -> None:
    """Try it: three web servers behind HAProxy on this machine, and clients that count.

    Shows live who is Ready, who gets how many requests and what just happened; keys stop a server gently, kill it,
    bring it back. With --script it does that by itself: all up, one stopped gently, one killed, both brought back, and
    tells what a client saw of it. It needs HAProxy and nginx (or Apache), works without root on loopback addresses,
    and leaves nothing behind.

    As root it puts the servers into network namespaces, on a bridge with 24 clients that reach them through a virtual
    IP, beside HAProxy, and each daemon starts its web server by scripts: keys also cut a server's link, freeze its
    daemon, let its web server hang or change its power, and --script also drains and resumes one, and lets a web
    server hang until its daemon has restarted it.

    Exit status: 0 all went well, and with --script every promise was kept; 1 a promise was broken; 2 the farm could
    not be put up; 128 and a signal's number, the story was interrupted.

    Example: hcsidecar demo --script
    """
    if as_json and not script:
        raise typer.BadParameter("goes with --script", param_hint="--json")
    if sys.platform != "linux":
        typer.echo("the demo needs Linux, for its many loopback addresses", err=True)
        raise typer.Exit(NOT_UP)
    # Loaded here because no other command needs it, and other systems could not.
    from hcsidecar.demo.main import play_story, show_live  # noqa: PLC0415

    raise typer.Exit(play_story(as_json=as_json) if script else show_live())
