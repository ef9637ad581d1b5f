"""The application of a node: runs its scripts and its checks, and counts its connections."""
