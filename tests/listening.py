"""Where processes wait for connections, read from Linux's own tables; and ports that are free."""

from __future__ import annotations

import contextlib
import os
import socket
from ipaddress import ip_address
from pathlib import Path

TABLES = (Path('/proc/net/tcp'), Path('/proc/net/tcp6'))
LISTENS = '0A'


def reserved_port() -> int:
    """A port of the loopback that for a minute only those get who ask for its number.

    A connection to it was closed by the server, after which the kernel gives it to nobody else.
    """
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection(('127.0.0.1', port)):
            server.accept()[0].close()
    return port


def listening_addresses(pid: int) -> list[str]:
    """Addresses of the sockets of a process that others can connect to."""
    sockets = set()
    for entry in Path(f'/proc/{pid}/fd').iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            sockets.add(os.readlink(entry))
    found = []
    for table in TABLES:
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENS and f'socket:[{inode}]' in sockets:
                found.append(_address(local.partition(':')[0]))
    return found


def _address(text: str) -> str:
    """Words of four bytes, each in the order of the machine."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ip_address(b''.join(words)))
