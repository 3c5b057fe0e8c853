"""`bench quality --rd`: rate and distortion compared with ordinary codecs."""
