"""What the scripts in tools/ do, as a library: from a config and a command line to a Runner."""

from ..compat import require_stack

require_stack()
