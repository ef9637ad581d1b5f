"""Layer-2 mode's hands: what it does to the kernel of this machine. Loaded only when the farm file has [l2]."""
