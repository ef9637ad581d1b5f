"""The node as a target of load balancers: its desired state there, and the calls that bring it about."""
