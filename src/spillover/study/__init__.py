"""Studies: the only room that knows the order of things, reads configuration and names files."""
