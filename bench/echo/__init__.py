"""`bench echo`: what the echo canceller takes away, and what it leaves of the near voice."""
