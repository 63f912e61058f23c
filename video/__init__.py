"""Video access: probing, frame sampling, decoding and clips. The package imports no model, index or user interface."""
