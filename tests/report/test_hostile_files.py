"""Tools that read files end with a page or with one sentence, whatever the files hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logs import evaluation, train_line, write_run
from tool_modules import load_tool

DEEP, DIGITS = '[' * 100_000, '9' * 5000
VALUES = [
    *('null', '"text"', '"١٢"', '[]', '{}', 'true', 'NaN', 'Infinity', '-Infinity', '-1', '0'),
    *('2000000000', '1e308', '-1e308', '5e-324', '1.5', '9007199254740993', DEEP, DIGITS),
    *('9' * 400, '"\\ud800"', '"' + 'x' * 5000 + '"', '"<script>$\\\\frac{"', '{"a": ' * 5000),
]
BINARY = [b'', b'\0' * 100, bytes(range(256)), b'\xff\xfe{\x00', b'\n' * 50, b'{"step": 1, "it']
PREDICTION: dict[str, Any] = {
    'format': 'agvm_mm prediction 1',
    'name': 'toy',
    'plan': {'images': 2, 'samples': 4, 'updates': 9, 'multiples': [4]},
    'modules': ['backbone', 'neck'],
    'anchor': 'backbone',
    'clamp': [0.5, 10.0],
    'seeds': [
        {
            'seed': 0,
            'updates': [5, 9],
            'window': {'phi': [0.9, 0.5], 'error': [0.1, 0.1], 'count': 9, 'images': 8.0},
            'same_weights': {'phi': [0.9, 0.5], 'error': [0.1, 0.1], 'count': 9, 'images': 8.0},
            'measured': [{'batch': 32, 'blocks': 2, 'phi': [0.7, 0.3], 'error': [0.1, None]}],
        }
    ],
}
RESULT: dict[str, Any] = {
    'config': 'a.py',
    'seed': 0,
    'scores': {'coco/bbox_mAP': 0.3, 'mIoU': 0.4},
    'loss': [[1, 2.0], [2, 1.0]],
    'modules': {'phi': {'neck': [[1, 0.5], [2, 0.4]]}, 'scale': {'neck': [[1, 1.1]]}},
}
CONFIG = {
    'train_dataloader': {'batch_size': 4},
    'train_cfg': {'max_epochs': 3},
    'optim_wrapper': {
        'type': 'AGVMOptimWrapper',
        'accumulative_counts': 2,
        'optimizer': {'type': 'SGD', 'lr': 0.1},
        'agvm': {'interval': 2, 'begin': 4, 'clamp': [0.5, 10.0], 'momentum': 0.9},
    },
}
LITERALS = [
    *("'\\ud800'", '10**99', '-' * 5000 + '1', '(' * 150 + ')' * 150, '0x' + 'f' * 9000, 'None'),
    *(DIGITS, '1e999', '-1', 'True', "{'a': [1]}", '{**a}', '{[]: 1}', "'x'", '[]', '2000000000'),
]
MARK_OF_A_PLACE = '@@'


def _put(value: Any, rng: random.Random, raw: str) -> str:
    """The JSON of ``value`` with one of its leaves, branches or keys replaced by ``raw``."""
    places: list[tuple[Any, Any]] = []

    def walk(parent: Any) -> None:
        for key in list(parent) if isinstance(parent, dict) else range(len(parent)):
            places.append((parent, key))
            if isinstance(parent[key], (dict, list)):
                walk(parent[key])

    value = json.loads(json.dumps(value))
    walk(value)
    parent, key = rng.choice(places)
    if rng.random() < 0.2:
        del parent[key]
        return json.dumps(value)
    parent[key] = MARK_OF_A_PLACE
    return json.dumps(value).replace(f'"{MARK_OF_A_PLACE}"', raw)


def _entry(step: int) -> dict[str, Any]:
    entry = train_line(1, step)
    for module in ('backbone', 'neck'):
        entry |= {f'agvm/phi/{module}': 0.5, f'agvm/phi_low/{module}': 0.48}
        entry |= {f'agvm/phi_high/{module}': 0.52}
        entry |= {f'agvm/scale/{module}': 1.0, f'agvm/noise_scale/{module}': 9.0}
    return entry


def _damage_log(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    if rng.random() < 0.2:
        path.write_bytes(rng.choice(BINARY))
        return
    i = rng.randrange(len(lines))
    lines[i] = _put(json.loads(lines[i]), rng, rng.choice(VALUES))
    if rng.random() < 0.3:
        lines.insert(rng.randrange(len(lines)), rng.choice(VALUES))
    path.write_text('\n'.join(lines) + rng.choice(['', '\n', '\n{"step": 9, "lo']))


def _damage_config(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.2:
        path.write_bytes(rng.choice(BINARY))
        return
    text = _put(CONFIG, rng, '@@@')
    text = text.replace('@@@', rng.choice(LITERALS)).replace('null', 'None')
    lines = [f'{key} = {value}' for key, value in CONFIG.items()]
    path.write_text('\n'.join([*lines, f'optim_wrapper = {text}', f'train_cfg = {text}']))


def _damage_log_text(path: Path, rng: random.Random) -> None:
    rule = '-' * 30
    number = rng.choice(['²', DIGITS, '-1', '١', 'x', '2000000000'])
    path.write_text(
        f'{rule}\nSystem environment:\n    GPU number: {number}\n    a: \0\n{rule}\n'
        f'AGVM: gradients were not finite at update {number}\n'
    )


def _replace_by_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _work_dir(folder: Path, rng: random.Random) -> None:
    log = write_run(folder, [_entry(1), _entry(2), evaluation(1, coco__bbox_mAP=0.2), _entry(3)])
    text = log.parents[1] / f'{log.parents[1].name}.log'
    config = log.parent / 'config.py'
    config.write_text('\n'.join(f'{key} = {value}' for key, value in CONFIG.items()))
    damages: list[tuple[Callable[[Path, random.Random], None], Path]] = [
        *[(_damage_log, log)] * 5,
        *[(_damage_config, config)] * 3,
        (_damage_log_text, text),
        (_replace_by_folder, rng.choice([log, text, config])),
    ]
    damage, path = rng.choice(damages)
    damage(path, rng)
    if rng.random() < 0.3:
        (folder / 'p.json').write_text(_put(PREDICTION, rng, rng.choice(VALUES)))


def _result(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.1:
        path.write_bytes(rng.choice(BINARY))
    else:
        path.write_text(_put(RESULT, rng, rng.choice(VALUES)))


def _prediction(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.1:
        path.write_bytes(rng.choice(BINARY))
    else:
        path.write_text(_put(PREDICTION, rng, rng.choice(VALUES)))


STEM = 'faster-rcnn_r18_fpn_sgd_2xb8-256it_scenes'
CASES: dict[str, tuple[str, Callable[[Path, random.Random], None], str, list[str]]] = {
    'report': ('analysis_tools/report.py', _work_dir, 'run', ['{input}', '--out', '{out}.html']),
    'plot': ('analysis_tools/plot_variance.py', _work_dir, 'run', ['{input}', '--out', '{out}']),
    'plot-result': (
        'analysis_tools/plot_variance.py',
        _result,
        'run.json',
        ['{input}', '--out', '{out}'],
    ),
    'predict': (
        'analysis_tools/predict_batch_size.py',
        _prediction,
        'p.json',
        ['{input}', '--figure', '{out}', '--json', '{out}.json'],
    ),
    'reproduce': (
        'reproduce.py',
        _work_dir,
        f'{STEM}_seed0',
        ['--table', 'miniature_faster_rcnn', '--work-root', '{folder}', '--show', 'results'],
    ),
    'reproduce-result': (
        'reproduce.py',
        _result,
        f'{STEM}_seed0.json',
        ['--table', 'miniature_faster_rcnn', '--work-root', '{folder}', '--show', 'results'],
    ),
}


def attack(case: str, seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make one hostile input and run the tool on it; its sentence, empty where it did its work."""
    tool, damage, name, args = CASES[case]
    path = folder / name
    damage(path, random.Random(f'{case} {seed}'))
    names = {'input': str(path), 'out': str(folder / 'out'), 'folder': str(folder)}
    module = load_tool(tool)
    monkeypatch.setattr('sys.argv', [tool, *(arg.format(**names) for arg in args)])
    try:
        with module.exit_with_sentence():
            module.main()
    except SystemExit as stop:
        return str(stop.code)
    return ''


COUNTS = [pytest.param(2), pytest.param(100, marks=pytest.mark.slow)]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('count', COUNTS)
@pytest.mark.parametrize('case', CASES)
def test_a_page_or_one_sentence(
    case: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seed in range(count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            sentence = attack(case, seed, folder, monkeypatch)
        except Exception as error:
            found.append((seed, repr(error)[:300]))
            continue
        if sentence and not _is_sentence(sentence):
            found.append((seed, sentence[:300]))
    assert found == []


def _is_sentence(text: str) -> bool:
    return (
        text.startswith('error: ')
        and '\n' not in text
        and text.endswith('.')
        and len(text) < 1000
        and 'invalid literal' not in text
    )
