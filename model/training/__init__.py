"""Training of the demo checkpoint from random weights: `python -m longview.model.training --help`, docs/training.md."""
