"""The classes of the scene dataset: things first, then stuff, as COCO orders them."""

from __future__ import annotations

from typing import TypedDict

THING_CLASSES = ('circle', 'square', 'triangle', 'star', 'cross', 'ring')
STUFF_CLASSES = ('sky', 'grass', 'brick')
CLASSES = THING_CLASSES + STUFF_CLASSES

VOID = 255
"""Value of unlabelled pixels in semantic maps, MMSegmentation's ``ignore_index``."""


class SceneMetainfo(TypedDict):
    """The ``metainfo`` that the dataset classes of MMDetection and MMSegmentation take."""

    classes: tuple[str, ...]
    thing_classes: tuple[str, ...]
    stuff_classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]


METAINFO: SceneMetainfo = {
    'classes': CLASSES,
    'thing_classes': THING_CLASSES,
    'stuff_classes': STUFF_CLASSES,
    'palette': [
        (220, 20, 60),
        (0, 0, 230),
        (250, 170, 30),
        (106, 0, 228),
        (0, 182, 199),
        (255, 99, 164),
        (70, 130, 180),
        (107, 142, 35),
        (150, 100, 100),
    ],
}
"""Classes and their RGB colours; CocoDataset wants only ``thing_classes`` as its ``classes``."""
