"""torchrun for the ranks of one machine: nobody outside of it can reach them.

    python tools/torchrun_loopback.py --rdzv_endpoint=127.0.0.1:0 ... train.py ...

torch's TCPStore, at which ranks meet, listens on every network interface, whatever address it was
given, and asks nobody who they are. Here a store of a loopback address gets a socket that is bound
to that address. Stores of other addresses, and everything else, are torchrun's.
"""

from __future__ import annotations

import socket
from typing import Any

import torch.distributed as dist

LOOPBACK = ('127.0.0.1', 'localhost')


class LoopbackStore(dist.TCPStore):  # type: ignore[name-defined]
    """A TCPStore that listens where it was told to.

    Args:
        host_name: as of torch's store.
        port: as of torch's store; 0 for a free one.
        world_size: as of torch's store.
        is_master: whether this process serves.
        *args: of torch's store.
        **kwargs: of torch's store.
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if is_master and host_name in LOOPBACK:
            listening = socket.create_server(('127.0.0.1', port))
            port = listening.getsockname()[1]
            kwargs['master_listen_fd'] = listening.detach()
        super().__init__(host_name, port, world_size, is_master, *args, **kwargs)


if __name__ == '__main__':
    # Before the first import of torchrun's modules, which take the class by this name.
    dist.TCPStore = LoopbackStore  # type: ignore[attr-defined]
    from torch.distributed.run import main

    main()
