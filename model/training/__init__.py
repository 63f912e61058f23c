"""How the bundled checkpoint is made, from random weights: `python -m model.training --help`, docs/training.md."""
