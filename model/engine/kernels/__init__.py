"""Numerical kernels: attention, linear attention, experts and reduced precision."""
