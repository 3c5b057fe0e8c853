"""Clips of people: where they are, who is in them, their frames, their faces."""
