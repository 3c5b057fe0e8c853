"""`bench framing`: whether heads are found and followed."""
