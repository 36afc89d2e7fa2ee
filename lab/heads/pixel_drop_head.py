r"""RetinaNet's head whose loss leaves out a random share of the pixels.

.. math:: L = \frac{1}{1 - p} \sum_i k_i L_i, \qquad k_i \sim \mathrm{Bernoulli}(1 - p)

over the pixels i of all levels and images, so that the expected loss is that of all pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import RetinaHead
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PixelDropRetinaHead(RetinaHead):
    """Drops pixels of the feature maps, all anchors of a pixel together, for both losses.

    Which ones is drawn anew for every image, level and iteration. Weights and predictions are
    those of :class:`mmdet.models.RetinaHead`.

    Args:
        drop: p, the expected share of pixels left out, in [0, 1).
        *args: of RetinaHead.
        **kwargs: of RetinaHead.
    """

    def __init__(self, *args: Any, drop: float = 0.75, **kwargs: Any) -> None:
        if not 0 <= drop < 1:
            raise ValueError(f'bbox_head.drop is {drop!r}; allowed is a number in [0, 1).')
        super().__init__(*args, **kwargs)
        self.drop = drop

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """As in mmdet, with the weights of the pixels of this level thinned out."""
        kept = self.draw(cls_score)
        return super().loss_by_feat_single(  # type: ignore[no-any-return]
            cls_score,
            bbox_pred,
            anchors,
            labels,
            label_weights * kept,
            bbox_targets,
            bbox_weights * kept.unsqueeze(-1),
            **kwargs,
        )

    def draw(self, cls_score: Tensor) -> Tensor:
        """Weights 0 or 1 / (1 - p) of the anchors of a level, (B, H W A)."""
        batch, _, height, width = cls_score.shape
        kept = torch.rand(batch, height * width, device=cls_score.device) >= self.drop
        # Anchors follow each other within a pixel.
        return kept.repeat_interleave(self.num_base_priors, dim=1) / (1 - self.drop)
