"""What all figures share: no display, colours, markers, PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402

from .work_dir import require_own, write_own  # noqa: E402

# Okabe and Ito's colours, told apart by colour-blind readers, and a marker besides.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#000000', '#F0E442')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
SMALLEST = 1e-100  # of a logarithmic axis; below, its arithmetic overflows

# Names come from configs and directories: a dollar sign in one is no formula.
matplotlib.rcParams['text.parse_math'] = False


def colour(i: int) -> str:
    """Of the i-th module or run."""
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    """Of the i-th module or run."""
    return MARKERS[i % len(MARKERS)]


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis over the positive ``values``, with labels that need no formula."""
    positive = [value for value in values if value > SMALLEST]
    if not positive:  # an empty logarithmic axis has labels in TeX
        return
    axes.set_yscale('log')
    low, high = min(positive), max(positive)
    margin = 1.02 * (high / low) ** 0.05
    axes.set_ylim(low / margin, high * margin)
    axes.yaxis.set_major_formatter('{x:.4g}')
    # Between powers of ten only where these are few.
    axes.yaxis.set_minor_formatter('{x:.4g}' if high < 10 * low else NullFormatter())


def paths_of(out: str | Path, mark: str) -> list[Path]:
    """The files of a figure.

    Args:
        out: their path without suffix.
        mark: of the tool, see :func:`agvm_runs.work_dir.require_own`.

    Raises:
        FileError: something lies there that is not the tool's.
    """
    paths = [Path(f'{out}{suffix}') for suffix in ('.png', '.svg')]
    for path in paths:
        require_own(path, mark)
    return paths


def save(figure: Figure, out: str | Path, mark: str = 'agvm_mm figure') -> list[Path]:
    """Write ``out`` with '.png' and '.svg' and close the figure. See :func:`paths_of`."""
    paths = paths_of(out, mark)
    for path, kind, name in zip(paths, ('png', 'svg'), ('Software', 'Creator')):
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=150, metadata={name: mark})
        write_own(path, content.getvalue(), mark)
    pyplot.close(figure)
    return paths
