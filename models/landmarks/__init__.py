"""Landmarks: named points of a face, found by a mesh network that is given by path, and kept in files."""
