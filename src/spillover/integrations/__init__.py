"""Other tools that our parts run in, or that run in ours; each is an extra of its own."""
