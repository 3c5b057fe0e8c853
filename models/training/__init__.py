"""Training: `python -m models.training backbone | tracks | forecaster`. Nothing outside imports it."""
