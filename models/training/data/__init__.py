"""What training learns from: clips, pairs, labels, tracks."""
