"""The paper's tables: which recipes fill them at which batches, and which figures are known.

A cell is a method at a batch size. It has a recipe, a figure or both. Nothing is filled in by
guessing: the paper's table of four tasks is not available here, hence most cells have no figure.
Figures of the secondary source, a third party's reading notes on the paper, agree with the authors'
own texts wherever both give one, yet they are never called published. The figures themselves are in
published.json.
"""

from __future__ import annotations

from collections.abc import Mapping

from .published import figures_of, times_of
from .table import OWN, Batches, Table

COCO: Mapping[int, tuple[int, int]] = {
    32: (8, 4),
    256: (16, 16),
    512: (32, 16),
    960: (480, 2),
    1024: (128, 8),
    1536: (768, 2),
    2048: (128, 16),
    10240: (640, 16),
}
"""GPUs and images per GPU of each batch on COCO."""
ADE20K: Mapping[int, tuple[int, int]] = {16: (4, 4), 64: (16, 4), 256: (64, 4), 1024: (256, 4)}

RECIPE_UNKNOWN = 'Learning rate, warm-up and image size of the runs behind the figures are unknown.'
FOUR_TASKS = "The paper's own table of this task is not available: its cells stay empty."
MINIATURE = (
    'Trained by lab/miniature.py; how learning rates were tuned: docs/contributing/miniature.md.'
)
RULE_UNKNOWN = (
    "How a baseline scaled its learning rate is not known; its figure stands beside the recipe's "
    'own rule.'
)


def _coco(stem: str, methods: str, *batches: int, length: str = '12e') -> dict[str, Batches]:
    """Recipes on COCO at batch 16, trained at ``batches``."""
    return {
        f'{stem}_fpn_{method}_8xb2-{length}_coco.py': tuple(COCO[batch] for batch in batches)
        for method in methods.split()
    }


def _ade20k(stem: str, methods: str, *batches: int) -> dict[str, Batches]:
    """Recipes on ADE20K at batch 16, trained at ``batches``."""
    return {
        f'{stem}_{method}_4xb4-80k_ade20k-512x512.py': tuple(ADE20K[batch] for batch in batches)
        for method in methods.split()
    }


FASTER_RCNN = Table(
    title='Faster R-CNN R50-FPN on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    recipes={
        **_coco(
            'faster_rcnn/faster-rcnn_r50',
            'sgd adamw lars lamb muon agvm-sgd agvm-adamw',
            *(32, 256, 512, 1024, 1536),
        ),
        **_coco('faster_rcnn/faster-rcnn_r50', 'kfac-sgd agvm-kfac-sgd', 512),
        'faster_rcnn/faster-rcnn_r50_fpn_sgd-curriculum_*_coco.py': OWN,
        'faster_rcnn/faster-rcnn_r50_fpn_agvm-adamw_768xb2-12e_coco.py': OWN,
    },
    figures=figures_of('faster_rcnn'),
    times=times_of('faster_rcnn'),
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
    recipes={
        'faster_rcnn/faster-rcnn_r50_fpn_*-released_*_coco.py': OWN,
        **_coco('faster_rcnn/faster-rcnn_r50', 'sgd', 32),
    },
    figures=figures_of('faster_rcnn_released'),
    notes=('The configs of the baselines were not released.',),
)

MASK_RCNN_RELEASED = Table(
    title="Mask R-CNN R50-FPN on COCO 2017, the authors' released recipes",
    metric='mask AP',
    key='coco/segm_mAP',
    scale=100,
    recipes={
        'mask_rcnn/mask-rcnn_r50_fpn_*-released_*_coco.py': OWN,
        **_coco('mask_rcnn/mask-rcnn_r50', 'sgd', 32),
    },
    figures=figures_of('mask_rcnn_released'),
    notes=FASTER_RCNN_RELEASED.notes,
)

MASK_RCNN = Table(
    title='Mask R-CNN R50-FPN on COCO 2017',
    metric='mask AP',
    key='coco/segm_mAP',
    scale=100,
    recipes={
        **_coco('mask_rcnn/mask-rcnn_r50', 'sgd lars lamb muon agvm-sgd', 32, 256, 512, 1024),
        'mask_rcnn/mask-rcnn_r50_fpn_sgd-curriculum_*_coco.py': OWN,
    },
    figures=figures_of('mask_rcnn'),
    notes=(FOUR_TASKS, 'Which learning rate failed with SGD at batch 1024 is not known.'),
)

RETINANET = Table(
    title='RetinaNet on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    recipes={
        **_coco('retinanet/retinanet_r50', 'sgd lars lamb muon agvm-sgd', 32, 256, 512, 1024, 2048),
        **_coco('retinanet/retinanet_r50', 'kfac-sgd agvm-kfac-sgd', 512),
        'retinanet/retinanet_r50_fpn_sgd-curriculum_*_coco.py': OWN,
        **_coco('retinanet/retinanet_r18', 'sgd lars lamb agvm-sgd', 10240),
        'retinanet/retinanet_r18_fpn_agvm-sgd_640xb16-12e_coco.py': OWN,
    },
    figures=figures_of('retinanet'),
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
    recipes=_coco('panoptic_fpn/panoptic-fpn_r50', 'sgd lars lamb agvm-sgd', 32, 256, 512, 1024),
    notes=(FOUR_TASKS,),
)

SEM_FPN = Table(
    title='Semantic FPN R50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    recipes={
        **_ade20k('sem_fpn/fpn_r50', 'sgd lars lamb muon agvm-sgd', 16, 64, 256, 1024),
        **_ade20k('sem_fpn/fpn_r50', 'kfac-sgd', 256),
        **_ade20k('sem_fpn/fpn_r50', 'sgd-curriculum', 16),
    },
    notes=(FOUR_TASKS,),
)

UPERNET = Table(
    title='UPerNet R50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    recipes=_ade20k('upernet/upernet_r50', 'sgd lars lamb agvm-sgd', 16, 64, 256, 1024),
    notes=('Not in the paper.',),
)

SWIN = Table(
    title='Faster R-CNN Swin-T on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    recipes=_coco('swin/faster-rcnn_swin-t', 'adamw lamb agvm-adamw', 32, 256, 512, 1024),
    notes=('The paper trains this detector; its scores are not available.',),
)

NORM_FREE = 'sgd-agc adan-agc lars lamb agvm-sgd-agc'
NF_RESNET = Table(
    title='Detectors with NF-ResNet-50 on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    recipes={
        **_coco('nf_resnet/faster-rcnn_nf-r50', NORM_FREE, 32, 256, 512, 1024, 1536),
        **_coco('nf_resnet/retinanet_nf-r50', NORM_FREE, 32, 512, 1536),
    },
    notes=('Not in the paper.',),
)

NF_RESNET_SEG = Table(
    title='Semantic FPN with NF-ResNet-50 on ADE20K',
    metric='mIoU',
    key='mIoU',
    scale=1,
    recipes=_ade20k('nf_resnet/fpn_nf-r50', NORM_FREE, 16, 256, 1024),
    notes=('Not in the paper.',),
)

LARGE = Table(
    title='Large detectors on COCO 2017',
    metric='box AP',
    key='coco/bbox_mAP',
    scale=100,
    recipes={
        **_coco(
            'cascade_rcnn/cascade-mask-rcnn_swin-l', 'adamw lamb agvm-adamw', 960, length='11e-amp'
        ),
        'cascade_rcnn/cascade-mask-rcnn_swin-l_fpn_agvm-adamw_480xb2-11e-amp_coco.py': OWN,
    },
    figures=figures_of('large'),
    notes=(
        "The paper's detector, one billion parameters, is quoted alone: its weights are not "
        'public. It was trained in 3.5 h (project page) on 480 A100 (press article). The recipes '
        'train another one and have no figure to meet.',
    ),
)


def _miniature(title: str, metric: str, key: str, pattern: str, scale: float = 100) -> Table:
    return Table(title, metric, key, scale, {f'miniature/{pattern}.py': OWN}, notes=(MINIATURE,))


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
