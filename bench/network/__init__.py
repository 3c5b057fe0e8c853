"""Networks for measurements and tests: in memory, or real and as bad as asked."""
