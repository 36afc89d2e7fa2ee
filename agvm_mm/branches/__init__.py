"""Short trainings from one checkpoint at several batches."""
