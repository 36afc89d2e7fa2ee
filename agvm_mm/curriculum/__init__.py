"""EfficientTrain++ for detectors and segmenters: low frequencies first.

Importing the package registers its components; mmdet and mmseg are imported when one of their data
preprocessors is built.
"""

from .augmentation import GrowingAugment
from .components import detection_preprocessor, segmentation_preprocessor
from .hook import CurriculumHook
from .presets import PRESETS
from .scheduler import ComputeParamSchedulerHook
from .stages import Schedule, Stage

__all__ = [
    'PRESETS',
    'ComputeParamSchedulerHook',
    'CurriculumHook',
    'GrowingAugment',
    'Schedule',
    'Stage',
    'detection_preprocessor',
    'segmentation_preprocessor',
]
