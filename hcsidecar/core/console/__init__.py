"""What the console decides: who may ask for what, what it shows of the farm, and the description of its API."""
