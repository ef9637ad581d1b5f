"""How a new server joins: what a token holds, when it is good, and when certificates are renewed."""
