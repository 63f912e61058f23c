"""Fit of the out-of-distribution detector of the demo checkpoint: `python -m longview.model.training.ood.fit --help`."""
