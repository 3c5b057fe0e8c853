"""The shipped weights, one folder a model: `model.safetensors` and `config.json`."""
