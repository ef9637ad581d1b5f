"""The API of a node: its routes, the unix socket and the signed TCP requests that lead to them, and its client."""
