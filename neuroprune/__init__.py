"""Neuroevolution on networks that are trained and pruned while they live."""

__version__ = "0.1.0"
