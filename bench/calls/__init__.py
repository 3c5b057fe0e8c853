"""`bench loopback`, `survive`, `soak`, `sync`, `playout`, `strip`: whole calls."""
