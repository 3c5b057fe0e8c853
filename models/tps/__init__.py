"""The Thin-Plate-Spline Motion Model (Zhao and Zhang, CVPR 2022), tensor for tensor as published."""
