"""mmdet's data preprocessor with low-frequency cropping."""

from __future__ import annotations

from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor

from .preprocessor import WHERE, LowFrequencyMixin

# These bring the small images back to a size of their own.
RESIZING = ('BatchFixedSizePad', 'BatchResize', 'BatchSyncRandomResize')


class LowFreqDetDataPreprocessor(LowFrequencyMixin, DetDataPreprocessor):
    """``DetDataPreprocessor`` whose training images a curriculum makes smaller.

    Args:
        *args: of :class:`.preprocessor.LowFrequencyMixin` and ``DetDataPreprocessor``.
        **kwargs: of the same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for augment in self.batch_augments or ():
            name = type(augment).__name__
            if name in RESIZING:
                raise ValueError(
                    f'{WHERE}.batch_augments has {name}, which sets the size of the images after '
                    'the curriculum has; allowed are augments that keep it.'
                )
