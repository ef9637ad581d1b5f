"""Who is in the farm, and who may take which share: the protocol that the nodes speak."""
