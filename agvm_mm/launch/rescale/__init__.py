"""A recipe for one batch rescaled for another: rules with their sources, applied to a config."""
