"""Where torch.compile leaves the process that calls it as it was."""

from __future__ import annotations

import inspect

import pytest
import torch._dynamo.eval_frame as eval_frame

# For good, in torch 2.1, and tests that look at gradients by such a hook may come afterwards.
needs_harmless_compiler = pytest.mark.skipif(
    'disable future hooking' in inspect.getsource(eval_frame),
    reason='torch.compile of this torch takes the step hooks off all optimizers',
)
