"""Memory and time of a model on this machine, estimated and measured."""
