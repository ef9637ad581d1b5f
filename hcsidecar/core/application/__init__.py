"""The application of a node: its life cycle, its scripts and its checks."""
