"""Neuroevolution on Networks."""
