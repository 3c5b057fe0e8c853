"""Measurements of the whole call and of its parts."""
