"""What the scripts in tools/ do, as a library: from a config and a command line to a Runner."""
