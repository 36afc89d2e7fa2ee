"""Names by which a config asks for a preprocessor, without mmdet or mmseg being imported here.

MMEngine's registries take a function for a class; the import waits until a model is built.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS


@MODELS.register_module(name='LowFreqDetDataPreprocessor')
def detection_preprocessor(**kwargs: Any) -> Any:
    """Build :class:`.detection.LowFreqDetDataPreprocessor`."""
    from .detection import LowFreqDetDataPreprocessor

    return LowFreqDetDataPreprocessor(**kwargs)


@MODELS.register_module(name='LowFreqSegDataPreprocessor')
def segmentation_preprocessor(**kwargs: Any) -> Any:
    """Build :class:`.segmentation.LowFreqSegDataPreprocessor`."""
    from .segmentation import LowFreqSegDataPreprocessor

    return LowFreqSegDataPreprocessor(**kwargs)
