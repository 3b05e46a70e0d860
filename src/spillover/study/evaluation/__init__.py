"""What models are asked, and what comes of it: scores, paired comparisons, the page."""
