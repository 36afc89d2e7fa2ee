r"""Factors that are cut into blocks, and the diagonal as the finest cut.

A factor of n rows in blocks of m is (g, n, m): row i holds its entries in the columns of its own
block, from the block's first. m = n is the whole factor. The last block may be smaller; what is
then left of its rows is zero. The diagonal alone is (g, n).

The inputs of a convolution are cut between channels. Its rows are ordered by channel and then by
place in the kernel. The k^2 rows of a channel are the same map, shifted, and so the most correlated
ones. A cut between channels keeps them together and needs no permutation. A bias stays with the
last channels.

With blocks a weight of r x c is preconditioned by 2 r c (m_G + m_A) operations in place of
2 r c (r + c), and the sum of a factor's products takes m/n of the work.

Source: K-FAC keeps the blocks of the Fisher matrix that belong to a layer (Martens and Grosse, ICML
2015); blocks within a large preconditioner are those of distributed Shampoo (Anil et al., "Scalable
second order optimization for deep learning", 2020). The cut between channels is our choice.
"""

from __future__ import annotations

from torch import Tensor

Shape = tuple[int, ...]


def block_rows(rows: int, limit: int, unit: int = 1) -> int:
    """Rows of a block, such that the blocks are as equal as whole units allow.

    Args:
        rows: n.
        limit: largest number of rows of a block; never less than one unit.
        unit: rows that stay together.

    Returns:
        n if it is within the limit, else a multiple of the unit.
    """
    if rows <= limit:
        return rows
    most = max(1, limit // unit)
    units = -(-rows // unit)
    count = -(-units // most)
    return min(rows, unit * -(-units // count))


def block_sizes(shape: Shape) -> list[int]:
    """Rows of every block of a factor (g, n, m)."""
    rows, block = shape[1], shape[2]
    return [min(block, rows - start) for start in range(0, rows, block)]


def stacks(factor: Tensor) -> list[Tensor]:
    """Views of the blocks of (g, n, m): the equal ones as (g, b, m, m), then a smaller last one."""
    rows, block = factor.shape[1:]
    count, rest = divmod(rows, block)
    whole = count * block
    found = [factor[:, :whole].unflatten(1, (count, block))]
    return [*found, factor[:, None, whole:, :rest]] if rest else found


def blocks(factor: Tensor) -> list[Tensor]:
    """Views of the blocks of (g, n, m), each (g, k, k)."""
    return [block for stack in stacks(factor) for block in stack.unbind(1)]
