"""The sentence encoder, which runs without PyTorch."""
