"""The paper's tables: which recipes fill them and which figures are known.

A cell is a method at a batch size. It has a recipe, a figure or both. Nothing is filled in by
guessing: the paper's table of four tasks is not available here, hence most cells have no figure.
Figures of the secondary source, a third party's reading notes on the paper, agree with the authors'
own texts wherever both give one, yet they are never called published.
"""

from __future__ import annotations

from collections.abc import Mapping

from .figures import Duration, Figure, Source
from .table import Place, Table

FASTER, MASKED = 'faster-rcnn_r50', 'mask-rcnn_r50'
UNINET = 'UniNet-G detector'

README, PAGE, SECONDARY = Source.README, Source.PAGE, Source.SECONDARY

RECIPE_UNKNOWN = 'Learning rate, warm-up and image size of the runs behind the figures are unknown.'
FOUR_TASKS = "The paper's own table of this task is not available: its cells stay empty."
MINIATURE = 'Trained by lab/miniature.py; how learning rates were tuned: docs/recipes.md.'
RULE_UNKNOWN = (
    'How a baseline scaled its learning rate is not known; its figure stands beside the '
    'square-root rule.'
)


def _series(
    model: str, method: str, source: Source, scores: Mapping[int, float]
) -> dict[Place, Figure]:
    return {(model, method, batch): Figure(score, source) for batch, score in scores.items()}


FASTER_RCNN = Table(
    title='Faster R-CNN R50-FPN on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=('faster_rcnn/faster-rcnn_r50_fpn_*-12e_coco.py',),
    figures={
        **_series(FASTER, 'agvm-adamw', SECONDARY, {32: 37.1, 256: 37.2, 512: 36.8, 1024: 37.0}),
        (FASTER, 'agvm-adamw', 1536): Figure(36.6, PAGE),
        **_series(FASTER, 'adamw-sqrt', SECONDARY, {512: 36.2, 1536: 35.9}),
        (FASTER, 'lamb', 1536): Figure(33.2, SECONDARY),
        (FASTER, 'pmd-lamb', 1536): Figure(33.5, PAGE),
        (FASTER, 'agvm-sgd', 512): Figure(36.7, SECONDARY),
        (FASTER, 'sgd-sqrt', 512): Figure(35.8, SECONDARY),
    },
    times={
        (FASTER, 'agvm-adamw', 1536): Duration('4.2 min', '768 A100', "the paper's title"),
    },
    notes=(
        RECIPE_UNKNOWN,
        RULE_UNKNOWN,
        'PMD-LAMB is quoted alone: its formula is not public.',
        'Training at batch 32 took 161 min (project page of May 2022) or 148 min (secondary '
        'source); optimizer and hardware of that run are not known.',
    ),
)

FASTER_RCNN_RELEASED = Table(
    title="Faster R-CNN R50-FPN on COCO 2017, the authors' released recipes",
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=(
        'faster_rcnn/faster-rcnn_r50_fpn_*-released_*_coco.py',
        'faster_rcnn/faster-rcnn_r50_fpn_sgd_8xb4-12e_coco.py',
    ),
    figures={
        **_series(FASTER, 'agvm-released', README, {256: 37.1, 512: 36.8}),
        **_series(FASTER, 'sgd-released', README, {256: 36.7, 512: 36.2}),
        (FASTER, 'sgd', 32): Figure(37.1, README),
    },
    notes=('The configs of the baselines were not released.',),
)

MASK_RCNN_RELEASED = Table(
    title="Mask R-CNN R50-FPN on COCO 2017, the authors' released recipes",
    metric='mask AP',
    key='coco/segm_mAP',
    scale=100,
    patterns=(
        'mask_rcnn/mask-rcnn_r50_fpn_*-released_*_coco.py',
        'mask_rcnn/mask-rcnn_r50_fpn_sgd_8xb4-12e_coco.py',
    ),
    figures={
        **_series(MASKED, 'agvm-released', README, {256: 35.0, 512: 34.6}),
        **_series(MASKED, 'sgd-released', README, {256: 34.4, 512: 33.9}),
        (MASKED, 'sgd', 32): Figure(34.8, README),
    },
    notes=FASTER_RCNN_RELEASED.notes,
)

MASK_RCNN = Table(
    title='Mask R-CNN R50-FPN on COCO 2017',
    metric='mask AP',
    key='coco/segm_mAP',
    scale=100,
    patterns=('mask_rcnn/mask-rcnn_r50_fpn_*-12e_coco.py',),
    figures={
        (MASKED, f'sgd-{rule}', 1024): Figure(None, Source.PAPER, 'training fails')
        for rule in ('linear', 'sqrt')
    },
    notes=(FOUR_TASKS, 'Which learning rate failed with SGD at batch 1024 is not known.'),
)

RETINANET = Table(
    title='RetinaNet on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=('retinanet/retinanet_r*_fpn_*_coco.py',),
    figures={
        ('retinanet_r18', 'agvm-sgd', 10240): Figure(26.7, SECONDARY),
        ('retinanet_r18', 'pmd-lamb', 10240): Figure(None, PAGE, 'NaN'),
    },
    notes=(
        FOUR_TASKS,
        'The batch of R18 is given as "10k"; whether 10,000 or 10,240, and with which optimizer, '
        'is not known. PMD-LAMB is quoted alone: its formula is not public.',
    ),
)

PANOPTIC_FPN = Table(
    title='Panoptic FPN R50 on COCO 2017',
    metric='PQ',
    key='coco_panoptic/PQ',
    scale=1,
    patterns=('panoptic_fpn/*_coco.py',),
    notes=(FOUR_TASKS,),
)

SEM_FPN = Table(
    title='Semantic FPN R50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    patterns=('sem_fpn/*_ade20k-512x512.py',),
    notes=(FOUR_TASKS,),
)

UPERNET = Table(
    title='UPerNet R50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    patterns=('upernet/*_ade20k-512x512.py',),
    notes=('Not in the paper.',),
)

SWIN = Table(
    title='Faster R-CNN Swin-T on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=('swin/*_coco.py',),
    notes=('The paper trains this detector; its scores are not available.',),
)

NF_RESNET = Table(
    title='Detectors with NF-ResNet-50 on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=('nf_resnet/*_coco.py',),
    notes=('Not in the paper.',),
)

NF_RESNET_SEG = Table(
    title='Semantic FPN with NF-ResNet-50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    patterns=('nf_resnet/*_ade20k-512x512.py',),
    notes=('Not in the paper.',),
)

LARGE = Table(
    title='Large detectors on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    patterns=('cascade_rcnn/*_coco.py',),
    figures={
        (UNINET, 'agvm-adamw', 960): Figure(62.2, Source.ABSTRACT),
        (UNINET, 'adamw', 960): Figure(None, PAGE, 'diverges'),
        (UNINET, 'pmd-lamb', 960): Figure(None, PAGE, 'diverges'),
    },
    notes=(
        "The paper's detector, one billion parameters, is quoted alone: its weights are not "
        'public. It was trained in 3.5 h (project page) on 480 A100 (press article). The recipes '
        'train another one and have no figure to meet.',
    ),
)


def _miniature(title: str, metric: str, key: str, pattern: str, scale: float = 100) -> Table:
    return Table(title, metric, key, scale, (f'miniature/{pattern}.py',), notes=(MINIATURE,))


TABLES: Mapping[str, Table] = {
    'faster_rcnn': FASTER_RCNN,
    'faster_rcnn_released': FASTER_RCNN_RELEASED,
    'mask_rcnn': MASK_RCNN,
    'mask_rcnn_released': MASK_RCNN_RELEASED,
    'retinanet': RETINANET,
    'panoptic_fpn': PANOPTIC_FPN,
    'sem_fpn': SEM_FPN,
    'upernet': UPERNET,
    'swin': SWIN,
    'nf_resnet': NF_RESNET,
    'nf_resnet_seg': NF_RESNET_SEG,
    'large': LARGE,
    'miniature_faster_rcnn': _miniature(
        'Tiny Faster R-CNN on generated scenes',
        'box AP',
        'coco/bbox_mAP',
        'faster-rcnn_r18_fpn_*_scenes',
    ),
    'miniature_nf_resnet': _miniature(
        'Tiny Faster R-CNN without normalisation on generated scenes',
        'box AP',
        'coco/bbox_mAP',
        'faster-rcnn_nf-r18_fpn_*_scenes',
    ),
    'miniature_bccd': _miniature(
        'Tiny Faster R-CNN on BCCD', 'box AP', 'coco/bbox_mAP', 'faster-rcnn_r18_fpn_*_bccd'
    ),
    'miniature_mask_rcnn': _miniature(
        'Tiny Mask R-CNN on generated scenes',
        'mask AP',
        'coco/segm_mAP',
        'mask-rcnn_r18_fpn_*_scenes',
    ),
    'miniature_panoptic_fpn': _miniature(
        'Tiny Panoptic FPN on generated scenes',
        'PQ',
        'coco_panoptic/PQ',
        'panoptic-fpn_r18_fpn_*_scenes',
        scale=1,
    ),
    'miniature_sem_fpn': _miniature(
        'Tiny Semantic FPN on generated scenes', 'mIoU', 'mIoU', 'fpn_r18_*_scenes', scale=1
    ),
    'miniature_camvid': _miniature(
        'Tiny Semantic FPN on CamVid', 'mIoU', 'mIoU', 'fpn_r18_*_camvid', scale=1
    ),
}
"""The tables by the name that ``tools/reproduce.py --table`` takes."""
