"""A cost model of a training step on clusters that were not there to be measured."""
