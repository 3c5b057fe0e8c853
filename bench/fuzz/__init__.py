"""`bench fuzz`: hostile input of every kind."""
