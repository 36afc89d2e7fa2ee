"""Branches of one checkpoint at several batches: their files, and the critical batch."""
