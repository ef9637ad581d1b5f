"""A farm of virtual machines by hand: boots them, starts it, and gives a prompt.

    cd tests; ../.venv/bin/python -m vm.farm --kernel 6.1 --nodes 3

`help` there says what can be typed. All ends, and nothing stays, with the prompt.
"""

import argparse
import contextlib
import os
import select
import subprocess
import sys
import termios
import time
import tty

from vm.kernels import SOURCES, kernel
from vm.machine import Build
from vm.servers import DELIVERIES, FILTERS, farm

HELP = """\
web1                 a shell on web1; `exit` comes back
web1 COMMAND         run it there; `all COMMAND` on every machine
clients COMMAND      run it where the clients are, as in: clients curl --silent 192.0.2.100
kill web1            as a power cut does; `boot web1` boots it again, and starts its daemon
freeze web1, thaw web1
switch directed tc   stop all daemons, and start them with this delivery and filter
exit
"""


def main():
    """Boot, start and prompt."""
    parser = argparse.ArgumentParser(prog="python -m vm.farm", description=__doc__.partition("\n")[0])
    parser.add_argument("--kernel", default="6.1", choices=SOURCES, help="the name of a stock kernel of Debian")
    parser.add_argument("--nodes", type=int, default=3, help="how many machines")
    parser.add_argument("--delivery", default="directed", choices=DELIVERIES)
    parser.add_argument("--filter", default="auto", choices=FILTERS)
    parser.add_argument("--queues", type=int, default=1, help="pairs of queues of a card, and processors")
    parser.add_argument("--card", default="virtio-net-pci", help="a model of network card, as QEMU names it")
    parser.add_argument("--exact", action="store_true", help="build the package anew, rather than lay edits over one")
    parser.add_argument("--no-daemon", action="store_true", help="boot only")
    chosen = parser.parse_args()
    build = Build(kernel=kernel(chosen.kernel), model=chosen.card, queues=chosen.queues)
    began = time.monotonic()
    with farm(build, nodes=chosen.nodes, exact=chosen.exact) as made:
        print(f"{', '.join(made.names)} have booted {build.kernel.release} in {time.monotonic() - began:.0f} s")
        if not chosen.no_daemon:
            _switch(made, chosen.delivery, chosen.filter)
        _prompt(made)


def _prompt(made):
    while True:
        try:
            line = input("lab> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if line == "exit":
            return
        try:
            _obey(made, line)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            print(error)


def _obey(made, line):
    match line.split(maxsplit=1):
        case []:
            pass
        case ["all", script]:
            for name in made.names:
                print(f"{name}: {made.machines[name].status_of(script)[1].rstrip()}")
        case ["clients", script]:
            subprocess.run(
                ["ip", "netns", "exec", made.network.clients.namespace, "sh", "-c", script], check=False, timeout=600
            )
        case [name] if name in made.machines:
            with made.machines[name].shell() as connection:
                _be_terminal(connection)
        case [name, script] if name in made.machines:
            print(made.machines[name].status_of(script, limit=600)[1].rstrip())
        case ["kill", name] if name in made.machines:
            made.machines[name].kill()
        case ["boot", name] if name in made.machines:
            delivery, packet_filter = made.configured or ("directed", "auto")
            made.revive(name)
            made.write_farm_file(delivery, packet_filter, name)
            made.start(name)
        case ["freeze", name] if name in made.machines:
            made.machines[name].freeze()
        case ["thaw", name] if name in made.machines:
            made.machines[name].thaw()
        case ["switch", words] if len(words.split()) == 2:
            _switch(made, *words.split())
        case _:
            print(HELP, end="")


def _switch(made, delivery, packet_filter):
    began = time.monotonic()
    made.configure(delivery=delivery, packet_filter=packet_filter).start().serving()
    filters = ", ".join(f"{name} by {made.filter_of(name)}" for name in made.names)
    print(f"they serve after {time.monotonic() - began:.0f} s: {filters}")


def _be_terminal(connection):
    """Join this terminal to a shell, byte by byte, until the shell ends."""
    connection.settimeout(None)
    size = os.get_terminal_size() if sys.stdout.isatty() else os.terminal_size((80, 24))
    connection.sendall(f"stty rows {size.lines} cols {size.columns}; clear\n".encode())
    with _raw(sys.stdin):
        while True:
            ready, _, _ = select.select([sys.stdin, connection], [], [])
            if connection in ready:
                if not (output := connection.recv(65536)):
                    return
                os.write(sys.stdout.fileno(), output)
            if sys.stdin in ready:
                if not (typed := os.read(sys.stdin.fileno(), 4096)):
                    return
                connection.sendall(typed)


@contextlib.contextmanager
def _raw(terminal):
    if not terminal.isatty():
        yield
        return
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


if __name__ == "__main__":
    main()
