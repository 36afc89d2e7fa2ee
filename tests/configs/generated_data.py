"""Sixteen generated scenes in the folders and with the classes of COCO 2017 and ADE20K: 12 + 4."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from scenes import STUFF_CLASSES, THING_CLASSES, VOID, draw_scene, write_split

SPLITS = {'train': range(12), 'val': range(12, 16)}
SIZE = (96, 128)
# Where the classes of the scenes stand among COCO's 80 things and 53 stuff classes, and ADE20K's
# 150, whose annotations count from 1.
COCO_INDEX = [13 * i for i in range(len(THING_CLASSES))] + [
    80 + 17 * i for i in range(len(STUFF_CLASSES))
]
ADE_LABEL = [1 + 16 * i for i in range(len(COCO_INDEX))]


def write_own_classes(folder: Path) -> None:
    """As the small recipes on generated scenes read them."""
    for split, numbers in SPLITS.items():
        rngs = [np.random.default_rng([7, number]) for number in numbers]
        write_split(folder, split, [draw_scene(rng, SIZE, (2, 6), 0.0) for rng in rngs])


def write_bccd(folder: Path) -> None:
    """The layout of the blood cells: two folders of images, two files, three classes."""
    write_own_classes(folder)
    names = ('RBC', 'WBC', 'Platelets')
    for split in SPLITS:
        content = json.loads((folder / f'annotations/instances_{split}2017.json').read_text())
        content['categories'] = [{'id': i + 1, 'name': name} for i, name in enumerate(names)]
        for annotation in content['annotations']:
            annotation['category_id'] = annotation['category_id'] % 3 + 1
        (folder / f'annotations_{split}.json').write_text(json.dumps(content))
        (folder / f'{split}2017').rename(folder / split)


def write_coco(folder: Path) -> None:
    """Instances, panoptic segments and semantic maps with COCO's classes."""
    from mmdet.datasets import CocoPanopticDataset

    write_own_classes(folder)
    names = CocoPanopticDataset.METAINFO['classes']
    categories = [
        {'id': i + 1, 'name': name, 'isthing': int(i < 80), 'color': [i, i, i]}
        for i, name in enumerate(names)
    ]
    for split in SPLITS:
        annotations = folder / 'annotations'
        for kind, classes in (('instances', 80), ('panoptic', len(names))):
            path = annotations / f'{kind}_{split}2017.json'
            content = json.loads(path.read_text())
            content['categories'] = categories[:classes]
            for entry in content['annotations']:
                for segment in entry.get('segments_info', [entry]):
                    segment['category_id'] = COCO_INDEX[segment['category_id'] - 1] + 1
            path.write_text(json.dumps(content))
        relabel(annotations / f'semantic_{split}2017', COCO_INDEX, void=VOID)


def write_ade(folder: Path) -> None:
    """Images and label maps of ADE20K's scene parsing challenge; 0 is what has no class."""
    scratch = folder / 'scratch'
    write_own_classes(scratch)
    for split, name in (('train', 'training'), ('val', 'validation')):
        labels = scratch / f'annotations/semantic_{split}2017'
        relabel(labels, ADE_LABEL, void=0)
        for source, target in ((scratch / f'{split}2017', 'images'), (labels, 'annotations')):
            (folder / target).mkdir(parents=True, exist_ok=True)
            source.rename(folder / target / name)


def write_camvid(folder: Path) -> None:
    """The layout of the street scenes; the scenes' nine classes are among its eleven."""
    scratch = folder / 'scratch'
    write_own_classes(scratch)
    for split in SPLITS:
        for source, kind in ((f'{split}2017', 'img'), (f'annotations/semantic_{split}2017', 'ann')):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (scratch / source).rename(folder / kind / split)


def relabel(maps: Path, labels: list[int], void: int) -> None:
    """Replace the class indices of the scenes in a folder of PNGs."""
    table = np.full(256, void, dtype=np.uint8)
    table[: len(labels)] = labels
    for path in maps.glob('*.png'):
        cv2.imwrite(str(path), table[cv2.imread(str(path), cv2.IMREAD_UNCHANGED)])


def write_all(root: Path) -> None:
    """Every dataset that a recipe reads, below ``root/data``."""
    write_coco(root / 'data/coco')
    write_ade(root / 'data/ade/ADEChallengeData2016')
    write_own_classes(root / 'data/scenes')
    write_own_classes(root / 'data/miniature')
    write_bccd(root / 'data/bccd')
    write_camvid(root / 'data/camvid')
