"""Training data: clips, pairs, labels, tracks."""
