"""The forecasters by name: the one list for every command, in a module that is quick to import."""

from __future__ import annotations

# Need no weights; see `models.forecast.baselines`.
PLAIN = ("hold", "damped")
# Trained; see `models.forecast.config`. The linear autoregression is a baseline too.
LEARNED = ("linear", "gru", "vae", "nf", "vrnn", "gru-nf", "simlpe")
NAMES = (*PLAIN, *LEARNED)
# What a learned forecaster has to beat: these stand in every table.
BASELINES = (*PLAIN, "linear")
# What a receiver takes by itself: the best on validation, and what there is for another detector's keypoints.
BEST = "vrnn"
FALLBACK = "damped"
