"""`bench throughput`: time and arithmetic of each stage."""
