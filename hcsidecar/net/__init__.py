"""The heartbeats' datagrams: sealing, sockets and the timer that sends them."""
