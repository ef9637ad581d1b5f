"""The demonstration: three real web servers on this machine, and what clients see of them.

There are two ways to the servers: through a real HAProxy, which asks their health URLs; and, where root may make
network namespaces, through a virtual IP as well, from many clients on the same bridge. Else the servers are on
loopback addresses, and HAProxy is the one way.

`plan` says where everything is, `texts` what is written there, `programs` starts and ends processes, `network` makes
the namespaces. `putting_up` brings the farm up and down, on a `stage` that does to it what the keys and the script ask
for. `traffic` is the client of HAProxy, `clients` the program of those of the virtual IP, `watch` looks at daemons and
HAProxy. What they bring together is judged in `judge` and `through_vip`, shown in `screen`, told in `report`: those
are pure.

Two ways to see it: `live` on a terminal, with keys; `story` unattended, with a verdict on every promise. Nothing here
is loaded by the daemon, and nothing leaves this machine or stays on it.
"""
