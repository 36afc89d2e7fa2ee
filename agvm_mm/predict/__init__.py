"""Noise scales from small batches, and what they say of large ones."""
