"""Settings of the farm as revisions: what a revision is, how nodes agree on one, what a change does to the farm."""
