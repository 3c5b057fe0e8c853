"""The lite backbone: FOMM's 60 numbers and its warp, in a network that runs in real time on two CPU cores."""
