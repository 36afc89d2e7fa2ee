"""The large-batch benchmark: one method at one batch with a fixed number of images."""
