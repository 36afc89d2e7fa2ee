"""The sweep over the model zoos: what it finds, what it keeps, and a sample of the networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tool_modules import load_tool
from torch import nn

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

from agvm_mm.optimizers.prediction_layers import prediction_layers
from lab.architectures import facts as structure
from lab.architectures.families import family_configs
from lab.architectures.last_layers import last_layers
from lab.architectures.methods import METHODS, SIDES, train_network

# Families by kinds of heads. A loss also reads what the head of a query is multiplied with.
PIXELS = {
    'mmdet/solov2': ['mask_head.mask_feature_head.conv_pred.conv'],
    'mmseg/mask2former': ['decode_head.pixel_decoder.mask_feature'],
}
FAMILIES = {
    'mmdet/fcos': 'points',
    'mmdet/retinanet': 'anchors',
    'mmdet/yolox': 'a head for every level',
    'mmdet/reppoints': 'sets of points',
    'mmdet/centernet': 'heatmaps',
    'mmdet/solov2': 'kernels of masks',
    'mmdet/mask_rcnn': 'regions and masks',
    'mmdet/sparse_rcnn': 'a cascade of queries',
    'mmdet/detr': 'queries',
    'mmseg/mask2former': 'queries with masks',
    'mmseg/pspnet': 'a map and an auxiliary one',
    'mmseg/segmenter': 'a transformer on patches',
}


class Toy(nn.Module):
    """3 x 4 + 3, 3 x 2, 4 x 3 + 4 and 3 numbers that are trained, 21 of unknown layers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, 3)
        self.bbox_head = nn.Module()
        self.bbox_head.hidden = nn.Linear(3, 2, bias=False)
        self.bbox_head.fc_cls = nn.Linear(3, 4)
        self.bbox_head.fc_reg = nn.Linear(3, 1, bias=False)
        self.table = nn.Embedding(10, 2)
        self.slope = nn.PReLU()
        self.frozen = nn.Linear(4, 1).requires_grad_(False)


def test_facts_of_a_network() -> None:
    """15 + 6 + 16 + 3 numbers that K-FAC knows, 20 and 1 that it does not; 12 and 3 predict."""
    found = structure.facts(Toy())
    assert (found['network'], found['numbers']) == ('Toy', 61)
    assert found['kfac'] == {
        'share': round(40 / 61, 5),
        'left': {
            'Embedding is not known': round(20 / 61, 5),
            'PReLU is not known': round(1 / 61, 5),
        },
    }
    assert found['clip'] == {'cls': round(49 / 61, 5), 'pred': round(46 / 61, 5)}
    assert sum(found['modules'].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ('family', 'least', 'left'),
    [
        ('mmseg/segformer', 0.999, {}),
        ('mmdet/rtmdet', 0.999, {}),
        # Positions of 32 x 32 patches and one more, and a class token, 384 numbers each.
        ('mmseg/segmenter', 0.98, {'VisionTransformer is not known': 1026 * 384 / 22.04e6}),
    ],
)
def test_what_kfac_covers(family: str, least: float, left: dict[str, float]) -> None:
    tool = load_tool('lab.zoo')
    ((_, _, network, _),) = tool.networks(f'{family}$')
    found = structure.facts(network)['kfac']
    assert least <= found['share'] <= 1
    for reason, share in left.items():
        assert found['left'][reason] == pytest.approx(share, rel=1e-2)


@pytest.mark.parametrize(
    ('family', 'classifiers', 'others'),
    [
        # 8 channels with 2 coordinates, 8 and 1: (10 x 8 + 8) + (8 x 8 + 8) + (8 + 1) numbers.
        ('mmdet/condinst', [], {'bbox_head.controller': 169}),
        (
            'mmdet/cornernet',
            [],
            {f'bbox_head.{corner}_{kind}.0.1.conv': size
             for corner in ('tl', 'br') for kind, size in (('off', 2), ('emb', 1))},
        ),
        ('mmdet/grid_rcnn', [], {'roi_head.grid_head.deconv2': 9}),
        ('mmdet/guided_anchoring', [], {'bbox_head.conv_loc': 1, 'bbox_head.conv_shape': 2}),
        ('mmdet/yolact', ['mask_head.segm_branch.segm_conv'], {}),
        (
            'mmdet/tood',
            [],
            {'bbox_head.cls_prob_module.2': 1, 'bbox_head.reg_offset_module.2': 4 * 2},
        ),
        ('mmdet/scnet', ['roi_head.glbctx_head.fc'], {}),
        ('mmdet/solo', [], {f'mask_head.conv_mask_list.{i}': n**2 for i, n in ((0, 40), (4, 12))}),
        ('mmdet/qdtrack', [], {'track_head.embed_head.fc_embed': 256}),
        ('mmseg/encnet', ['decode_head.se_layer'], {}),
        ('mmseg/knet', [], {'decode_head.kernel_update_head.0.fc_mask': 512}),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_prediction_layers_by_what_they_put_out(
    family: str, classifiers: list[str], others: dict[str, int]
) -> None:
    """Layers that end a branch of their head, with the number of outputs that the paper gives."""
    ((_, _, network, _),) = load_tool('lab.zoo').networks(f'{family}$')
    classes = prediction_layers(network, regression=False)
    every = prediction_layers(network, regression=True)
    assert set(classifiers) <= set(classes) <= set(every)
    assert set(others) <= set(every) - set(classes)
    layers = dict(network.named_modules())
    for name, size in others.items():
        layer = layers[name]
        assert getattr(layer, 'out_channels', getattr(layer, 'out_features', None)) == size


class Sums(nn.Module):
    """The loss reads ``read`` directly, ``hidden`` through it, and ``apart`` not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.read, self.apart = (nn.Linear(2, 2) for _ in range(3))
        self.data_preprocessor = lambda batch, training: batch

    def _run_forward(self, data: Any, mode: str) -> Any:
        read = self.read(self.hidden(data).relu_())
        read[..., :1] += 1.0  # as decoders add their reference points
        return read.relu_() * self.apart(data).detach()

    def parse_losses(self, losses: Any) -> Any:
        return losses.sum(), {}


def test_the_last_layers_before_a_loss() -> None:
    assert last_layers(Sums(), torch.ones(1, 3, 2)) == ['read']


@pytest.fixture
def one_family(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sweep over toys of two kinds in three families, with training replaced."""
    tool = load_tool('lab.zoo')
    calls: list[Any] = []

    def train(*args: Any) -> dict[str, Any]:
        calls.append(args)
        return {'losses': [1.0], 'finite': args[1] != 'b', 'scales': {}, 'unnamed': []}

    class Other(Toy):
        pass

    rows = [('mmdet', 'a', Toy()), ('mmdet', 'again', Toy()), ('mmdet', 'b', Other())]
    monkeypatch.setattr(tool, 'networks', lambda only: [(*row, Path(row[1])) for row in rows])
    monkeypatch.setattr(tool, 'in_a_process', lambda seconds, zoo, path, *_: train(zoo, path.stem))
    return tool, calls


def run(tool: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr('sys.argv', ['zoo.py', *arguments])
    tool.main()


def test_a_sweep_goes_on_where_it_stopped(
    one_family: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool, calls = one_family
    out = tmp_path / 'zoo.json'
    run(tool, monkeypatch, '--out', str(out))
    # What is not finite is trained without methods too, and a kind of network once.
    assert calls == [('mmdet', 'a'), ('mmdet', 'b'), ('mmdet', 'b')]
    families = json.loads(out.read_text())['families']
    assert families['mmdet/again']['as'] == 'mmdet/a'
    assert families['mmdet/b']['trained']['without']['finite'] is False
    run(tool, monkeypatch, '--out', str(out))
    assert len(calls) == 3
    assert json.loads(out.read_text())['families'] == families
    run(tool, monkeypatch, '--out', str(out), '--again')
    assert len(calls) == 6


def test_the_table(
    one_family: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    tool, _ = one_family
    out = tmp_path / 'zoo.json'
    run(tool, monkeypatch, '--out', str(out))
    run(tool, monkeypatch, '--out', str(out), '--show')
    shares, left, ends = capsys.readouterr().out.strip().split('\n\n')
    # 15 of 61 numbers are the backbone's, 25 the head's, 20 and 1 those of table and slope.
    row = '| backbone 24.6, bbox_head 41, table 32.8, slope 1.64 | 80.3, 75.4 | mmdet a, again, b |'
    assert shares.splitlines()[2:] == [row]
    assert left.splitlines()[2] == '| mmdet a | 65.6 | Embedding 32.8, PReLU 1.64 |'
    assert len(left.splitlines()) == 2 + 3
    assert ends.splitlines()[2:] == [
        '| finite | mmdet a |',
        '| has the layers of another | mmdet again |',
        '| not finite; without the methods too | mmdet b |',
    ]


def test_a_training_that_fails_or_takes_too_long_gives_a_sentence() -> None:
    tool = load_tool('lab.zoo')
    found = tool.in_a_process(60, 'mmdet', Path('nowhere.py'))
    assert found['fault'].startswith('FileNotFoundError')
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(tool, 'train_network', lambda *args: sum(iter(int, 1)))
        assert tool.in_a_process(1)['fault'] == 'no result after 1 s of CPU time, or killed'


@pytest.mark.slow
@pytest.mark.parametrize('family', list(FAMILIES), ids=list(FAMILIES.values()))
def test_a_kind_of_head_trains_with_every_method(family: str) -> None:
    """All numbers are finite, every module has a scale, and every layer that predicts a name."""
    zoo, _, name = family.partition('/')
    path = dict(family_configs(zoo))[name][0]
    found = train_network(zoo, path, METHODS, SIDES.get(name, 64), 2)
    assert found['finite'] and len(found['losses']) == 4
    scales = found['scales']
    assert scales.pop('backbone') == 1 and scales
    assert all(0.707 <= scale <= 3.17 for scale in scales.values())
    assert len({*scales.values(), 1.0}) > 1  # measured, and not left at 1
    assert found['unnamed'] == PIXELS.get(family, [])
