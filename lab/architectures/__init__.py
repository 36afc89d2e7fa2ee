"""Architectures of the model zoos: one config of every family, and small versions that train."""
