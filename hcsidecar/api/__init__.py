"""The API of a node: its routes, the two ways to reach them (unix socket, signed requests over TCP), and its client."""
