"""`bench quality --rd`: rate and distortion beside ordinary codecs."""
