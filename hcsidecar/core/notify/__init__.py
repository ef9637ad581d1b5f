"""Notifications: what operators are told by webhook or mail, which node tells it, and in which words.

`outbox.py` decides for one receiver which node sends what and when. `node_watch.py` finds the changes of nodes.
`message.py` writes a message. `documents.py` has what nodes say to each other and what the API shows.
`hcsidecar/notify` carries it out.
"""
