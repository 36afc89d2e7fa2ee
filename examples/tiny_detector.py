"""A detector of four modules and its data, for the plain loop.

Noise with one bright square; every position says whether the square covers it, and its box.
"""

import torch
from torch import Tensor, nn

SIZE, STRIDE, IMAGES = 64, 8, 8


class Detector(nn.Module):
    """One stage: a backbone, a neck, a head for the class and a head for the box."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 16, 32, 32]
        layers = [nn.Conv2d(i, o, 3, 2, padding=1) for i, o in zip(widths, widths[1:])]
        self.backbone = nn.Sequential(*(x for layer in layers for x in (layer, nn.ReLU())))
        self.neck = nn.Conv2d(32, 32, 1)
        self.cls_head = nn.Conv2d(32, 1, 3, padding=1)
        self.box_head = nn.Conv2d(32, 4, 3, padding=1)

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """The loss of images (B, 3, H, W) with one box (x1, y1, x2, y2) each."""
        features = self.neck(self.backbone(images)).relu()
        axis = (torch.arange(SIZE // STRIDE) + 0.5) * STRIDE
        points = torch.stack(torch.meshgrid(axis, axis, indexing='xy'))
        low, high = boxes[:, :2, None, None], boxes[:, 2:, None, None]
        sides = torch.cat([points - low, high - points], 1)
        inside = sides.amin(1) > 0
        found = self.box_head(features).movedim(1, -1)[inside]
        classes = nn.functional.binary_cross_entropy_with_logits(
            self.cls_head(features)[:, 0], inside.float()
        )
        return classes + nn.functional.l1_loss(found, sides.movedim(1, -1)[inside] / STRIDE)


def batch() -> tuple[Tensor, Tensor]:
    """Images and boxes, new ones at every call."""
    low = torch.rand(IMAGES, 2) * SIZE / 2
    boxes = torch.cat([low, low + SIZE / 4 + torch.rand(IMAGES, 1) * SIZE / 4], 1)
    images = torch.randn(IMAGES, 3, SIZE, SIZE)
    for image, (x1, y1, x2, y2) in zip(images, boxes.int().tolist()):
        image[:, y1:y2, x1:x2] += 1
    return images, boxes
