"""The sending end of a call: captures frames, finds their keypoints, ships every other block of them."""
