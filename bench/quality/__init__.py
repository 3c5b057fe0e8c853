"""`bench quality`: how well clips are reconstructed, or carried over to other people."""
