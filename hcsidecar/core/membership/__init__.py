"""The membership protocol of the nodes: who is in the farm, and who may take which share."""
