"""Adapters: what differs between the servers that people run. One module for each software."""
