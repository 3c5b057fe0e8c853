"""The shipped weights, one folder a model: `model.safetensors`, `config.json`, and what is made of them."""
