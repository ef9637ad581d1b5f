"""What answers on TCP and on the local socket: health URL, API, their listeners."""
