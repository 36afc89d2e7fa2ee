"""The effective-batch experiment: sources of independent gradients removed one by one."""
