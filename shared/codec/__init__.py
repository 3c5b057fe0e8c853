"""Keypoints as bytes: quantization, entropy coding, packets."""
