"""Settings revisions on disk: the operator's directory, the store of a node, and the check of a candidate."""
