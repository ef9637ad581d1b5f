"""The parts of layer-2 mode that change the kernel of this machine. Loaded only if the farm file has [l2]."""
