"""Training watched step by step: phases, and how easily it is undone or done again."""
