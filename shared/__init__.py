"""What both ends of a call agree on: keypoints, packets, sessions, clocks and the transport below them."""
