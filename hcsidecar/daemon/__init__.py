"""The process of a node: its start, its parts put together, and its end."""
