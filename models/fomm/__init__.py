"""The First Order Motion Model (Siarohin et al., NeurIPS 2019), tensor for tensor as published."""
