"""`bench forecast`, `bench diversity`, `bench anomaly`: what forecasters know of what comes next."""
