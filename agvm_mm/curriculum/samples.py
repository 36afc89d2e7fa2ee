"""Ground truth of one image, moved with its content; works on MMEngine's structures alone."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor

from .geometry import Grid, move_points, resample_labels

INSTANCES = ('gt_instances', 'ignored_instances', 'proposals')
MAPS = ('gt_sem_seg', 'gt_edge_map')
# Left as they are these would silently point at other pixels.
UNSUPPORTED = ('gt_keypoints', 'gt_panoptic_seg', 'gt_depth_map')
UNSUPPORTED_OF_INSTANCE = ('keypoints', 'keypoints_visible')


def move_sample(sample: Any, grid: Grid, min_box_size: float) -> Any:
    """A copy of a data sample on the small grid.

    Args:
        sample: ``DetDataSample`` or ``SegDataSample``; left as it is.
        grid: the crop.
        min_box_size: instances whose box becomes narrower or lower are left out.

    Raises:
        ValueError: the sample holds ground truth that cannot be moved.
    """
    for key in UNSUPPORTED:
        if key in sample:
            raise _unsupported(key)
    if 'homography_matrix' in sample.metainfo:
        raise _unsupported('homography_matrix')
    moved = sample.clone()
    for key in INSTANCES:
        if key in sample:
            moved.set_data({key: move_instances(sample.get(key), grid, min_box_size)})
    for key in MAPS:
        if key in sample:
            maps = dict(sample.get(key).items())
            _require_image_size(key, maps, grid)
            maps = {name: resample_labels(value, grid) for name, value in maps.items()}
            moved.set_data({key: PixelData(**maps)})
    moved.set_metainfo(_meta(sample, grid))
    return moved


def move_instances(instances: Any, grid: Grid, min_box_size: float) -> Any:
    """A copy of ``InstanceData`` with boxes and masks on the small grid, too small boxes left out.

    Boxes are clipped to the image. Fields without geometry go with their instance.
    """
    for key in UNSUPPORTED_OF_INSTANCE:
        if key in instances:
            raise _unsupported(key)
    moved = instances.new()
    masks = moved.pop('masks', None)
    if 'bboxes' not in instances:
        return _with_masks(moved, masks, grid)
    boxes = _move_boxes(instances.bboxes, grid)
    moved.bboxes = boxes
    width, height = _extent(boxes)
    keep = (width >= min_box_size) & (height >= min_box_size)
    if masks is not None:
        masks = masks[keep.nonzero().flatten().cpu().numpy()]
    return _with_masks(moved[keep], masks, grid)


def _with_masks(instances: Any, masks: Any, grid: Grid) -> Any:
    if masks is not None:
        from .masks import move_masks  # needs mmdet, as whoever has such masks does

        instances.masks = move_masks(masks, grid)
    return instances


def _move_boxes(boxes: Any, grid: Grid) -> Any:
    """Corners ``(n, 4)`` as a tensor, or one of mmdet's box types; in float32 at least."""
    if boxes.dtype != torch.float64:
        boxes = boxes.to(torch.float32)
    if isinstance(boxes, Tensor):
        moved = move_points(boxes, grid)
        high = moved.new_tensor((grid.after[1], grid.after[0]) * 2)
        return torch.minimum(moved.clamp(min=0), high)
    moved = boxes.clone()
    moved.rescale_(grid.scale)
    moved.translate_(grid.shift)
    moved.clip_(grid.after)
    return moved


def _extent(boxes: Any) -> tuple[Tensor, Tensor]:
    if isinstance(boxes, Tensor):
        return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return boxes.widths, boxes.heights


def _meta(sample: Any, grid: Grid) -> dict[str, Any]:
    """What the sample says of its size; ``ori_shape`` is the file's and stays."""
    x, y = grid.scale
    before = sample.metainfo.get('scale_factor', (1.0, 1.0))
    meta: dict[str, Any] = {
        'img_shape': grid.after,
        'scale_factor': (float(before[0]) * x, float(before[1]) * y),
    }
    if 'pad_shape' in sample.metainfo:
        meta['pad_shape'] = grid.after
    return meta


def _require_image_size(key: str, maps: dict[str, Tensor], grid: Grid) -> None:
    for value in maps.values():
        size = tuple(value.shape[-2:])
        if size != grid.before:
            raise ValueError(
                f'a data sample holds {key!r} of {size[0]} x {size[1]} pixels for an image of '
                f'{grid.before[0]} x {grid.before[1]}; low-frequency cropping takes maps of the '
                "image's size: leave SegRescale out of the pipeline, or train without "
                'CurriculumHook.'
            )


def _unsupported(key: str) -> ValueError:
    return ValueError(
        f'a data sample holds {key!r}, which low-frequency cropping cannot move with the image; '
        'allowed are boxes, masks and semantic maps. Leave it out of the pipeline, or train '
        'without CurriculumHook.'
    )
