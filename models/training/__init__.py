"""Training: `python -m models.training backbone | forecaster`. Nothing outside this folder imports it."""
