"""The events of a node: kept in memory, stored on disk, and written to the log."""
