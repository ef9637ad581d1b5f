"""Layer-2 mode: servers on one network share a virtual IP, each taking its share of the clients."""
