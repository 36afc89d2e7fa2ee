"""How a cell is trained: the commands, the GPUs and the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .cell import Cell
from .figures import Duration

HOUR = 3600


class PlanError(ValueError):
    """A wish that no command can meet; the message is one sentence."""


@dataclass(frozen=True)
class Hardware:
    """What the user has.

    Args:
        gpus: GPUs of the run; None for those that the cell names.
        per_node: GPUs of one machine.
        seconds_per_image: GPU seconds that one training image takes, measured by the user; None
            where it is not known, and then no time is given.
    """

    gpus: int | None = None
    per_node: int = 8
    seconds_per_image: float | None = None


@dataclass(frozen=True)
class Plan:
    """The work of one cell.

    Args:
        gpus: GPUs of the run.
        images: images per GPU and micro-batch.
        micro_batches: micro-batches of an update, accumulative_counts.
        torchrun: the command on every machine.
        slurm: the command on a login node.
        time: expected time of training, empty where nobody knows it.
    """

    gpus: int
    images: int
    micro_batches: int
    torchrun: str
    slurm: str
    time: str


def plan_of(
    cell: Cell,
    config: str,
    work_root: Path,
    seed: int = 0,
    hardware: Hardware | None = None,
    known: Duration | None = None,
) -> Plan:
    """The plan of a cell.

    Args:
        cell: the cell.
        config: path of its recipe as the commands should name it.
        work_root: folder of the work directories.
        seed: random seed of the run; it is part of the work directory's name.
        hardware: what the user has; None for the cell's own.
        known: the published time of the cell, given where the run is on the cell's own GPUs.

    Raises:
        PlanError: the batch cannot be made of whole micro-batches on these GPUs.
    """
    hardware = hardware or Hardware()
    gpus = hardware.gpus or cell.gpus
    step = gpus * cell.images
    if cell.batch % step:
        raise PlanError(
            f'{gpus} GPUs x {cell.images} images do not divide the batch of {cell.batch} of '
            f'{cell.recipe.path.name}; allowed for --gpus is a divisor of {cell.gpus}.'
        )
    work_dir = work_root / f'{cell.name}_seed{seed}'
    options = f'--seed {seed}{cell.options}'
    return Plan(
        gpus=gpus,
        images=cell.images,
        micro_batches=cell.batch // step,
        torchrun=_torchrun(config, work_dir, options, gpus, hardware.per_node),
        slurm=_slurm(cell, config, work_dir, options, gpus, hardware.per_node),
        time=_expected_time(cell, gpus, hardware, known),
    )


def _torchrun(config: str, work_dir: Path, options: str, gpus: int, per_node: int) -> str:
    """One machine, or several on each of which the command runs with its own NODE_RANK."""
    prefix, local = '', gpus
    if gpus > per_node:
        _require_whole_nodes(gpus, per_node)
        prefix = f'NNODES={gpus // per_node} NODE_RANK=$NODE_RANK MASTER_ADDR=$MASTER_ADDR '
        local = per_node
    return f'{prefix}bash tools/dist_train.sh {config} {local} --work-dir {work_dir} {options}'


def _slurm(cell: Cell, config: str, work_dir: Path, options: str, gpus: int, per_node: int) -> str:
    return (
        f'GPUS={gpus} GPUS_PER_NODE={min(gpus, per_node)} bash tools/slurm_train.sh $PARTITION '
        f'{cell.method}_{cell.batch} {config} {work_dir} {options}'
    )


def _require_whole_nodes(gpus: int, per_node: int) -> None:
    if gpus % per_node:
        raise PlanError(
            f'{gpus} GPUs do not fill machines of {per_node}; allowed for --gpus is a multiple of '
            '--gpus-per-node.'
        )


def _expected_time(cell: Cell, gpus: int, hardware: Hardware, known: Duration | None) -> str:
    """Published, or images x seconds per image / GPUs, or nothing.

    The product leaves out evaluation, start-up and the cost of communication beyond what the user's
    own measurement contains.
    """
    if hardware.seconds_per_image is not None:
        seconds = cell.recipe.trained_images * hardware.seconds_per_image / gpus
        return f'{_clock(seconds)} at {hardware.seconds_per_image:g} GPU s an image'
    if known is not None and gpus == cell.gpus:
        return f'{known.text} on {known.hardware} ({known.source})'
    return ''


def _clock(seconds: float) -> str:
    if seconds < HOUR:
        return f'{seconds / 60:.1f} min'
    return f'{seconds / HOUR:.1f} h'
