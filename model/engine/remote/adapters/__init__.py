"""Adapters: what differs between the servers that users run. One module for each software."""
