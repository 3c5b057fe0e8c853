"""Forecasters: keypoints that have not arrived, predicted from those that have."""
