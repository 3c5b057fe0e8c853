"""The free-view neural talking head (Wang, Mallya and Liu, CVPR 2021), as its public reimplementation has it."""
