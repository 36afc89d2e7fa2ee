"""What older torch lacks, for tests."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

tells_names = pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'),
    reason='torch tells the names in a checkpoint since 2.6',
)

since_2_2 = pytest.mark.skipif(
    not hasattr(dist, 'get_pg_count'), reason='torch 2.1 answers otherwise; see the comment'
)
