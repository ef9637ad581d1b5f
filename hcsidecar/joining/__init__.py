"""The farm's certificate authority, the certificates of its nodes, and what a new server sends and writes to join."""
