"""Codec tables for a backbone."""
