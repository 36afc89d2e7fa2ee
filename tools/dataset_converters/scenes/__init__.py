"""Generated scenes with annotations as COCO has them, so that training needs no download."""

from .classes import (
    CLASSES,
    METAINFO,
    STUFF_CLASSES,
    THING_CLASSES,
    VOID,
)
from .coco_writer import write_split
from .scene import Scene, draw_scene

__all__ = [
    'CLASSES',
    'METAINFO',
    'STUFF_CLASSES',
    'THING_CLASSES',
    'VOID',
    'Scene',
    'draw_scene',
    'write_split',
]
