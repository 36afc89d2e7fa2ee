"""Scenes on disk, laid out as COCO 2017: images, instances, panoptic segments and semantic maps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .classes import CLASSES, METAINFO, THING_CLASSES, VOID
from .scene import Scene

_JPEG_QUALITY = 95

Json = dict[str, Any]


def write_split(out_dir: Path, split: str, scenes: Iterable[Scene]) -> int:
    """Write scenes as one split of a COCO dataset.

    ``<split>2017/`` holds the images and ``annotations/`` the ``instances`` and ``panoptic`` files,
    a folder of panoptic PNGs and a folder of semantic maps of class indices, 255 where void. Image
    i has the id i + 1.

    Args:
        out_dir: Folder of the dataset.
        split: Name of the split, 'train' or 'val'.
        scenes: The scenes, in order.

    Returns:
        Number of objects.
    """
    folders = _make_folders(out_dir, split)
    images: list[Json] = []
    instances: list[Json] = []
    panoptic: list[Json] = []
    for image_id, scene in enumerate(scenes, start=1):
        stem = f'{image_id:012d}'
        height, width = scene.segments.shape
        images.append(
            {'id': image_id, 'file_name': f'{stem}.jpg', 'height': height, 'width': width}
        )
        for annotation in describe_instances(scene):
            instances.append({'id': len(instances) + 1, 'image_id': image_id, **annotation})
        segments_info = describe_segments(scene)
        panoptic.append(
            {'image_id': image_id, 'file_name': f'{stem}.png', 'segments_info': segments_info}
        )
        _write_image(folders.images / f'{stem}.jpg', scene.image)
        _write_image(folders.panoptic / f'{stem}.png', panoptic_map(scene))
        _write_image(folders.semantic / f'{stem}.png', semantic_map(scene))
    _write_json(out_dir, f'instances_{split}2017', images, instances, _categories(THING_CLASSES))
    _write_json(out_dir, f'panoptic_{split}2017', images, panoptic, _panoptic_categories())
    return len(instances)


def describe_instances(scene: Scene) -> list[Json]:
    """Annotations of the objects of a scene, without ids.

    Args:
        scene: The scene.

    Returns:
        One annotation per object, with box (x, y, width, height) and area in pixels, both of the
        visible part.
    """
    annotations = []
    for segment, label in enumerate(scene.labels, start=1):
        if label >= len(THING_CLASSES):
            continue
        mask = (scene.segments == segment).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        annotations.append(
            {
                'category_id': label + 1,
                'segmentation': trace_polygons(mask[y : y + height, x : x + width], (x, y)),
                'area': int(np.count_nonzero(mask)),
                'bbox': [x, y, width, height],
                'iscrowd': 0,
            }
        )
    return annotations


def trace_polygons(mask: NDArray[np.uint8], origin: tuple[int, int] = (0, 0)) -> list[list[float]]:
    """Polygons whose union is a mask.

    COCO's polygons have no holes, so a part that has one is cut in two there. Corners lie a quarter
    of a pixel within the mask's edge, hence rasterising them gives the same pixels again.

    Args:
        mask: 1 inside and 0 outside, shape (height, width).
        origin: What to add to x and y.

    Returns:
        Polygons as COCO writes them: x1, y1, x2, y2, ... in pixels.
    """
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    contours, links = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, links[0] if contours else ()):
        if parent >= 0:
            columns = contour[..., 0]
            cut = (int(columns.min()) + int(columns.max())) // 4
            left = trace_polygons(np.ascontiguousarray(mask[:, :cut]), origin)
            right_origin = (origin[0] + cut, origin[1])
            return left + trace_polygons(np.ascontiguousarray(mask[:, cut:]), right_origin)
    return [((contour + 0.5) / 2 + origin).ravel().tolist() for contour in contours]


def describe_segments(scene: Scene) -> list[Json]:
    """Panoptic annotations of the visible segments of a scene.

    Args:
        scene: The scene.

    Returns:
        ``segments_info``, whose ids are the colours of the panoptic map.
    """
    segments_info = []
    for segment, label in enumerate(scene.labels, start=1):
        mask = (scene.segments == segment).astype(np.uint8)
        if mask.any():
            segments_info.append(
                {
                    'id': _panoptic_id(segment, label),
                    'category_id': label + 1,
                    'area': int(np.count_nonzero(mask)),
                    'bbox': list(cv2.boundingRect(mask)),
                    'iscrowd': 0,
                }
            )
    return segments_info


def panoptic_map(scene: Scene) -> NDArray[np.uint8]:
    """Segment ids as colours, id = red + 256 green + 256^2 blue, void black.

    Args:
        scene: The scene.

    Returns:
        Blue, green and red, shape (height, width, 3).
    """
    ids = [0] + [_panoptic_id(segment, label) for segment, label in enumerate(scene.labels, 1)]
    colours = [(number >> 16, number >> 8 & 255, number & 255) for number in ids]
    return np.array(colours, dtype=np.uint8)[scene.segments]


def semantic_map(scene: Scene) -> NDArray[np.uint8]:
    """Class indices, 255 where void.

    Args:
        scene: The scene.

    Returns:
        Index in ``CLASSES`` of each pixel, shape (height, width).
    """
    return np.array([VOID, *scene.labels], dtype=np.uint8)[scene.segments]


def _panoptic_id(segment: int, label: int) -> int:
    return (label + 1) + 256 * segment


def _categories(names: tuple[str, ...]) -> list[Json]:
    kinds = {name: 'shape' if name in THING_CLASSES else 'background' for name in names}
    return [
        {'id': CLASSES.index(name) + 1, 'name': name, 'supercategory': kind}
        for name, kind in kinds.items()
    ]


def _panoptic_categories() -> list[Json]:
    return [
        {**category, 'isthing': int(category['name'] in THING_CLASSES), 'color': list(colour)}
        for category, colour in zip(_categories(CLASSES), METAINFO['palette'])
    ]


class _Folders(NamedTuple):
    images: Path
    panoptic: Path
    semantic: Path


def _make_folders(out_dir: Path, split: str) -> _Folders:
    annotations = out_dir / 'annotations'
    folders = _Folders(
        out_dir / f'{split}2017',
        annotations / f'panoptic_{split}2017',
        annotations / f'semantic_{split}2017',
    )
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise OSError(f'{path} could not be written.')


def _write_json(
    out_dir: Path, name: str, images: list[Json], annotations: list[Json], categories: list[Json]
) -> None:
    content = {
        'info': {'description': 'Scenes generated by agvm_mm'},
        'licenses': [],
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    (out_dir / 'annotations' / f'{name}.json').write_text(json.dumps(content), encoding='utf-8')
