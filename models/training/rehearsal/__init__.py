"""Trying out a machine: whether it computes what it should, how fast, and what it can train in minutes."""
