"""Datagrams in and out: sealing, sockets and the one timer."""
