"""The application of a node: its scripts are run, its checks made, its connections counted."""
