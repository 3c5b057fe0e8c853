"""Code shared by both ends of a call: keypoints, packets, sessions, clocks and the transport below them."""
