"""The node as a target of load balancers: what it should be there, and the calls that make it so."""
