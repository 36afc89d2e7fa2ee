"""The layers of a detector or segmenter that predict, by the names OpenMMLab's heads give them.

Adaptive gradient clipping does not clip the classifier's weight. In MMDetection and MMSegmentation
the classifier is an attribute of the head such as ``rpn_cls`` or ``conv_seg``: a layer, a list with
one for each level or decoder layer, or the last layer of a small network.

A layer predicts if the loss reads its output with no other layer between. Where a loss reads the
product of what a query predicts and of features of pixels, as in MaskFormer, only the former does.
Structure alone does not tell classes from boxes: with three classes and a background, both are
four numbers. ``lab.zoo`` compares the names with the autograd graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)

CLASSIFIERS = re.compile(
    r'(\w+_)?cls|cls_(score|embed|layers)|fc_cls_ref|(aux_)?cls_branches|reppoints_cls_out'
    r'|(\w+_)?(conv|cls|fc)_seg|(\w+_)?logits|heatmap_head|(tl|br)_heat|convs_pred|segm_conv|se_layer'
)
REGRESSORS = re.compile(
    r'(\w+_)?(reg|centerness|obj|iou|coeff)|(aux_)?reg_branches|(fc_reg|vfnet_reg)_(ref|refine)'
    r'|fc_reg_(cls|offset)|reg_layers|(bbox|object)_pred|mask_embed|(wh|offset)_head|offset'
    r'|reppoints_pts_\w+_out|(rtm|conv)_kernel|controller|(tl|br)_(off|emb|\w+_shift)'
    r'|conv_(loc|shape|mask_list)|cls_prob_module|reg_offset_module|fc_(mask|embed)'
)
_NONE = re.compile('(?!)')
# Names that other heads give to layers of other kinds.
OF_CLASS = {
    'SSDHead': (re.compile('cls_convs'), re.compile('reg_convs')),
    'GlobalContextHead': (re.compile('fc'), _NONE),
    'GridHead': (_NONE, re.compile('deconv2')),
}
FEATURES = ('backbone', 'neck')


def prediction_layers(model: nn.Module, regression: bool) -> list[str]:
    """Qualified names of the layers that classify; with ``regression``, of all that predict."""
    found: dict[str, None] = {}
    for path, parent in model.named_modules():
        if path.partition('.')[0] in FEATURES:
            continue
        kinds = (kind.__name__ for kind in type(parent).__mro__)
        classes, boxes = next(
            (OF_CLASS[kind] for kind in kinds if kind in OF_CLASS), (CLASSIFIERS, REGRESSORS)
        )
        for name, child in parent.named_children():
            if name in FEATURES:
                continue
            if classes.fullmatch(name) or (regression and boxes.fullmatch(name)):
                full = f'{path}.{name}' if path else name
                found.update(dict.fromkeys(_outputs(full, child)))
    return list(found)


def _outputs(name: str, module: nn.Module) -> Iterator[str]:
    """The layers at the end of ``module``: of every entry of a list, the last of a sequence."""
    if isinstance(module, LAYERS):
        yield name
    elif isinstance(module, nn.ModuleList):
        for key, entry in module.named_children():
            yield from _outputs(f'{name}.{key}', entry)
    else:
        inner = [(key, layer) for key, layer in module.named_modules() if isinstance(layer, LAYERS)]
        if inner:
            yield f'{name}.{inner[-1][0]}'
