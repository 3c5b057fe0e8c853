"""Training: `python -m models.training backbone | tracks | forecaster`. Nothing outside this folder imports it."""
