"""Keypoints as generative face video messages (ITU-T H.274) in an H.264 stream, for other programs."""
