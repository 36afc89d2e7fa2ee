"""A long run with faults: NaN losses, batches without an object, ranks that are killed."""
