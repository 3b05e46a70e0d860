"""What a study needs and what a machine has: estimates before anything is run."""
