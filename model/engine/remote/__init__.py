"""Served models: a checkpoint behind a server, one adapter for each kind of server software."""
