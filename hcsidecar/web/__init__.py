"""The listeners on TCP and on the local socket, with the health URL and the API behind them."""
