"""The portraits that the project draws itself."""
