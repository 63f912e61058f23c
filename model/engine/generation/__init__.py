"""Decoding of tokens: sampling, grammars and the thoughts of reasoning models."""
