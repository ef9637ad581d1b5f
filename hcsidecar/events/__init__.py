"""The events of a node: kept in memory, stored on disk, written to the log."""
