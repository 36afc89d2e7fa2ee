"""The first lines of every recipe say what it is; published figures are not in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipes import ROOT, every_recipe, header, parse

pytestmark = pytest.mark.configs

LABELS = ['Purpose', 'Hardware', 'Batch', 'Derived', 'Command']
ALWAYS = {'Purpose', 'Batch', 'Command'}


@every_recipe
def test_first_lines_say_what_it_is(path: Path) -> None:
    recipe, fields = parse(path), header(path)
    assert list(fields) == [label for label in LABELS if label in ALWAYS or label in fields]
    assert fields['Batch'].startswith(f'{recipe.batch} images')
    gpus = recipe.batch // recipe.images
    hardware = fields.get('Hardware', fields['Batch'])
    assert f'{gpus} GPUs x {recipe.images}' in hardware
    command, ranks = fields['Command'].rsplit(' ', 1)
    assert command == rf'bash tools/dist_train.sh \ {path.relative_to(ROOT)}'
    assert gpus % int(ranks) == 0


@every_recipe
def test_only_the_authors_own_recipes_have_nothing_derived(path: Path) -> None:
    if parse(path).method.endswith('-released'):
        assert ('Derived' in header(path)) == (parse(path).method != 'agvm-released')
