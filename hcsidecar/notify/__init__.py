"""Sends notifications to their receivers: webhooks and mail servers.

`core/notify` decides what is sent by which node and when. `notifications.py` carries it out in the daemon. Each message
is sent by a process of its own, `send.py`, which `delivery.py` starts and kills after a time limit: no name server, no
TLS and no receiver that hangs can delay the daemon, and neither libraries nor passwords stay in its memory.
"""
