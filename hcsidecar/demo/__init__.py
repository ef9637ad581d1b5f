"""The demonstration: three real web servers on this machine, and what their clients see.

Clients reach the servers through a real HAProxy, which asks their health URLs. If root may make network namespaces,
many clients on the same bridge also reach them through a virtual IP. Otherwise the servers have loopback addresses, and
HAProxy is the only way.

`plan` has all addresses and paths, `texts` the content of all files. `programs` starts and ends processes, `network`
makes the namespaces. `putting_up` starts and ends the farm; `stage` carries out what the keys and the script do to it.
`traffic` is the client of HAProxy, `clients` the program of the virtual IP's clients, and `watch` polls daemons and
HAProxy. `judge` and `through_vip` judge what they record, `screen` draws it, and `report` writes it as text and as a
document; these four are pure.

`live` is the demo on a terminal, with keys; `story` plays it unattended, with a verdict on every promise. The daemon
imports nothing of this package. The demo sends nothing beyond this machine, and leaves nothing on it.
"""
