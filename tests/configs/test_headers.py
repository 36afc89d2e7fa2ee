"""The first lines of every recipe say what it is, and quote only figures that may be quoted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recipes import ROOT, every_recipe, header, parse

pytestmark = pytest.mark.configs

LABELS = ['Purpose', 'Hardware', 'Batch', 'Expected', 'Derived', 'Command']

# What may be quoted: value, words of its source.
SECONDARY, README, PAGE = 'secondary source', "authors' README", "paper's project page"
FIGURES = {
    ('faster-rcnn', 'r50', 'agvm-released', 256): ('box AP 37.1', README),
    ('faster-rcnn', 'r50', 'agvm-released', 512): ('box AP 36.8', README),
    ('faster-rcnn', 'r50', 'sgd-released', 256): ('box AP 36.7', README),
    ('faster-rcnn', 'r50', 'sgd-released', 512): ('box AP 36.2', README),
    ('faster-rcnn', 'r50', 'sgd', 32): ('box AP 37.1', README),
    ('mask-rcnn', 'r50', 'agvm-released', 256): ('mask AP 35.0', README),
    ('mask-rcnn', 'r50', 'agvm-released', 512): ('mask AP 34.6', README),
    ('mask-rcnn', 'r50', 'sgd-released', 256): ('mask AP 34.4', README),
    ('mask-rcnn', 'r50', 'sgd-released', 512): ('mask AP 33.9', README),
    ('mask-rcnn', 'r50', 'sgd', 32): ('mask AP 34.8', README),
    ('faster-rcnn', 'r50', 'agvm-adamw', 32): ('box AP 37.1', SECONDARY),
    ('faster-rcnn', 'r50', 'agvm-adamw', 256): ('box AP 37.2', SECONDARY),
    ('faster-rcnn', 'r50', 'agvm-adamw', 512): ('box AP 36.8', SECONDARY),
    ('faster-rcnn', 'r50', 'agvm-adamw', 1024): ('box AP 37.0', SECONDARY),
    ('faster-rcnn', 'r50', 'agvm-adamw', 1536): ('box AP 36.6', PAGE),
    ('faster-rcnn', 'r50', 'adamw-sqrt', 512): ('box AP 36.2', SECONDARY),
    ('faster-rcnn', 'r50', 'adamw-sqrt', 1536): ('box AP 35.9', SECONDARY),
    ('faster-rcnn', 'r50', 'agvm-sgd', 512): ('box AP 36.7', SECONDARY),
    ('faster-rcnn', 'r50', 'sgd-sqrt', 512): ('box AP 35.8', SECONDARY),
    ('faster-rcnn', 'r50', 'lamb', 1536): ('box AP 33.2', SECONDARY),
    ('retinanet', 'r18', 'agvm-sgd', 10240): ('box AP 26.7', SECONDARY),
}


class TestHeader:
    @every_recipe
    def test_first_lines_say_what_it_is(self, path: Path) -> None:
        recipe, fields = parse(path), header(path)
        wanted = [label for label in LABELS if label != 'Derived' or 'Derived' in fields]
        assert list(fields) == wanted
        assert f'at batch {recipe.batch}' in fields['Purpose']
        gpus = recipe.batch // recipe.images
        assert fields['Hardware'].startswith(f'{gpus} GPUs x {recipe.images} images')
        assert fields['Batch'].startswith(f'{recipe.batch} images')
        relative = path.relative_to(ROOT)
        assert fields['Command'] == rf'bash tools/dist_train.sh \ {relative} 8'

    @every_recipe
    def test_only_the_released_recipes_have_nothing_derived(self, path: Path) -> None:
        assert ('Derived' in header(path)) == (parse(path).method != 'agvm-released')

    @every_recipe
    def test_expected_figures_are_known_ones_with_a_source(self, path: Path) -> None:
        recipe, text = parse(path), header(path)['Expected']
        figure = re.match(r'(box|mask) AP (\d+\.\d)\b', text)
        known = FIGURES.get((recipe.algorithm, recipe.backbone, recipe.method, recipe.batch))
        if known is None:
            assert figure is None
            assert text.startswith(('not known', 'training fails (the paper says so'))
        else:
            value, source = known
            assert figure is not None and figure[0] == value
            assert source in text
