"""`animate`: bring one picture to life with the motion of a video, offline."""
