"""Training of the head finder."""
