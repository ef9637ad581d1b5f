"""Who may do what: users, API tokens, roles, and the record of them that all nodes of a farm have in common.

The record is not part of the settings, because it must be changeable while a node is dead: a user is locked out now,
not when the last node is back. So the nodes do not agree on a change: each takes it, and two records are merged. See
`record.py` for why merging cannot bring a removed user back.
"""
