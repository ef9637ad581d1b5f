"""The demonstration: three real web servers behind a real HAProxy on this machine, and what a client sees of it.

`plan` says where everything is, `texts` what is written there, `programs` starts and ends processes, `stage` puts the
farm up and does to it what the keys and the script ask for. `traffic` is the client, `watch` looks at daemons and
HAProxy. What they bring together is judged in `judge`, shown in `screen`, told in `report`: those three are pure.

Two ways to see it: `live` on a terminal, with keys; `story` unattended, with a verdict on every promise. Nothing here
is loaded by the daemon, and nothing leaves 127.0.0.0/8.
"""
