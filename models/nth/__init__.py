"""The free-view neural talking head (Wang, Mallya and Liu, CVPR 2021), as publicly reimplemented."""
