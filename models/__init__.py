"""The networks: motion-transfer backbones and keypoint forecasters, behind NumPy facades."""
