"""The small backbone that runs in real time on two CPU cores."""
