"""`bench bandwidth`: what calls cost."""
