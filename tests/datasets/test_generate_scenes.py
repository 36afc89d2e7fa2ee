"""The command line of the dataset script."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

SMALL = ['--size', '32', '40', '--train', '4', '--val', '2']


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--train', '0'], '--train is 0 but must be 1 image or more.'),
        (['--val', '-1'], '--val is -1 but must be 1 image or more.'),
        (['--size', '31', '64'], '--size is 31 64 but both must be 32 pixels or more.'),
        (['--size', '64', '31'], '--size is 64 31 but both must be 32 pixels or more.'),
        (['--objects', '0', '3'], '--objects is 0 3 but needs 1 <= MIN <= MAX <= 1000.'),
        (['--objects', '4', '3'], '--objects is 4 3 but needs 1 <= MIN <= MAX <= 1000.'),
        (['--objects', '4', '1001'], '--objects is 4 1001 but needs 1 <= MIN <= MAX <= 1000.'),
        (['--empty', '1.5'], '--empty is 1.5 but must be from 0 to 1.'),
        (['--empty', 'nan'], '--empty is nan but must be from 0 to 1.'),
        (['--seed', '-1'], '--seed is -1 but must be 0 or more.'),
    ],
)
def test_bad_argument_is_one_sentence(
    tmp_path: Path,
    generate_scenes: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as stop:
        generate_scenes.main([str(tmp_path / 'data'), *arguments])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f'error: {message}\n')
    assert not (tmp_path / 'data').exists()


def test_layout_and_summary(
    tmp_path: Path, generate_scenes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_scenes.main([str(tmp_path), *SMALL])
    printed = capsys.readouterr().out
    for split, images in [('train', 4), ('val', 2)]:
        annotations = tmp_path / 'annotations'
        path = annotations / f'instances_{split}2017.json'
        objects = len(json.loads(path.read_text())['annotations'])
        assert f'{images} {split} images with {objects} objects' in printed
        assert len(list((tmp_path / f'{split}2017').glob('*.jpg'))) == images
        for kind in ('panoptic', 'semantic'):
            names = sorted(path.name for path in (annotations / f'{kind}_{split}2017').iterdir())
            assert names == [f'{index:012d}.png' for index in range(1, images + 1)]
    assert printed.count('\n') == 1


def test_larger_dataset_extends_smaller(tmp_path: Path, generate_scenes: ModuleType) -> None:
    small, large = tmp_path / 'small', tmp_path / 'large'
    generate_scenes.main([str(small), *SMALL])
    generate_scenes.main([str(large), *SMALL, '--train', '7'])
    for name, content in contents(small).items():
        if name.endswith(('.jpg', '.png')):
            assert contents(large)[name] == content
    for kind in ('instances', 'panoptic'):
        name = f'annotations/{kind}_train2017.json'
        few, many = (json.loads((folder / name).read_text()) for folder in (small, large))
        assert many['annotations'][: len(few['annotations'])] == few['annotations']
        assert many['images'][:4] == few['images']
        assert len(many['images']) == 7


def test_seed_and_split_decide_the_images(tmp_path: Path, generate_scenes: ModuleType) -> None:
    drawn = []
    for name, seed in [('a', 3), ('b', 3), ('c', 4)]:
        generate_scenes.main([str(tmp_path / name), *SMALL, '--seed', str(seed)])
        drawn.append(contents(tmp_path / name))
    one, same, other = drawn
    assert one == same
    image = '000000000001.jpg'
    assert one[f'train2017/{image}'] != other[f'train2017/{image}']
    assert one[f'train2017/{image}'] != one[f'val2017/{image}']


def test_same_arguments_draw_nothing(
    tmp_path: Path, generate_scenes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_scenes.main([str(tmp_path), *SMALL])
    image = tmp_path / 'train2017' / '000000000001.jpg'
    image.write_bytes(b'kept')
    capsys.readouterr()
    generate_scenes.main([str(tmp_path), *SMALL])
    assert capsys.readouterr().out == f'{tmp_path} already holds these scenes: nothing to do.\n'
    assert image.read_bytes() == b'kept'


def test_other_arguments_need_overwrite(tmp_path: Path, generate_scenes: ModuleType) -> None:
    generate_scenes.main([str(tmp_path), *SMALL])
    before = contents(tmp_path)
    with pytest.raises(SystemExit, match='drawn with other arguments.*--overwrite'):
        generate_scenes.main([str(tmp_path), *SMALL, '--train', '2'])
    assert contents(tmp_path) == before
    generate_scenes.main([str(tmp_path), *SMALL, '--train', '2', '--overwrite'])
    assert sum(name.startswith('train2017/') for name in contents(tmp_path)) == 2


def test_interrupted_run_is_drawn_again(
    tmp_path: Path, generate_scenes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    generate_scenes.main([str(whole), *SMALL])
    draw, left = generate_scenes.draw_scene, iter(range(3))

    def fail_on_fourth(*args: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return draw(*args)

    with monkeypatch.context() as patch:
        patch.setattr(generate_scenes, 'draw_scene', fail_on_fourth)
        with pytest.raises(KeyboardInterrupt):
            generate_scenes.main([str(broken), *SMALL])
    assert len(list((broken / 'train2017').iterdir())) == 3
    generate_scenes.main([str(broken), *SMALL])
    assert contents(broken) == contents(whole)


@pytest.mark.parametrize('state', [None, '[]', '{}', 'no json'])
def test_foreign_folder_is_never_touched(
    tmp_path: Path, generate_scenes: ModuleType, state: str | None
) -> None:
    (tmp_path / 'train2017').mkdir()
    (tmp_path / 'train2017' / 'mine.jpg').write_bytes(b'mine')
    if state is not None:
        (tmp_path / 'scenes.json').write_text(state)
    before = contents(tmp_path)
    with pytest.raises(SystemExit, match='something other than generated scenes'):
        generate_scenes.main([str(tmp_path), *SMALL, '--overwrite'])
    assert contents(tmp_path) == before
