"""How the out-of-distribution detector of the demo checkpoint is fitted."""
