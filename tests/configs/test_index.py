"""The model index has the recipes that have results; the list in the docs has every recipe."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipes import ROOT

from agvm_runs.reproduce.recipes import METHODS, parse_recipe
from lab.metafiles import texts

pytestmark = pytest.mark.configs

FILES = sorted(ROOT.glob('configs/[!_]*/*.py'))
METAFILES = sorted(ROOT.glob('configs/*/metafile.yml'))
every_metafile = pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
MINIATURE = {'box AP': 'coco/bbox_mAP', 'mask AP': 'coco/segm_mAP'}
MINIATURE |= {'PQ': 'coco_panoptic/PQ', 'mIoU': 'mIoU'}


def metafile(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def test_the_index_imports_every_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index == {'Import': [str(path.relative_to(ROOT)) for path in METAFILES]}


def test_names_of_collections_are_distinct() -> None:
    names = [entry['Name'] for path in METAFILES for entry in metafile(path)['Collections']]
    assert len(names) == len(set(names)) == len(METAFILES)


def test_the_metafiles_are_those_that_the_results_make() -> None:
    """``python -m lab.metafiles`` after new results."""
    assert {path: path.read_text() for path in METAFILES} == texts()


@every_metafile
def test_a_collection_says_where_it_comes_from(path: Path) -> None:
    content = metafile(path)
    assert set(content) == {'Collections', 'Models'}
    (collection,) = content['Collections']
    assert {model['In Collection'] for model in content['Models']} == {collection['Name']}
    assert re.fullmatch(r'https://arxiv\.org/abs/\d{4}\.\d{5}', collection['Paper']['URL'])
    assert collection['Paper']['Title'] and collection['Metadata']['Architecture']
    assert (ROOT / collection['README']).is_file()


@every_metafile
def test_metadata_are_those_of_the_recipe(path: Path) -> None:
    for model in metafile(path)['Models']:
        assert (ROOT / model['Config']).is_file() and Path(model['Config']).stem == model['Name']
        recipe, metadata = parse_recipe(ROOT / model['Config']), model['Metadata']
        assert recipe is not None and recipe.method in METHODS
        assert metadata['Batch Size'] == recipe.batch
        if recipe.unit == 'e':
            assert metadata['Epochs'] == recipe.length and 'Iterations' not in metadata
        else:
            assert metadata['Iterations'] * recipe.batch == recipe.trained_images
        techniques = metadata['Training Techniques']
        assert ('AGVM' in techniques) == recipe.method.startswith('agvm-')
        assert ('EfficientTrain++' in techniques) == recipe.method.endswith('-curriculum')
        assert len(techniques) == len(set(recipe.method.split('-')) - {'linear', 'sqrt'})
        assert metadata['Training Data'].lower().replace('generated ', '') in model['Name']


def test_a_result_of_the_miniature_is_the_mean_of_its_files() -> None:
    models = metafile(ROOT / 'configs/miniature/metafile.yml')['Models']
    assert len(models) >= 48
    for model in models:
        files = list((ROOT / 'docs/results/miniature').glob(f'{model["Name"]}_seed?.json'))
        assert ROOT / model['Training Log'] in files
        ((metric, value),) = model['Results'][0]['Metrics'].items()
        key, found = MINIATURE[metric], [json.loads(file.read_text())['scores'] for file in files]
        mean = statistics.fmean(scores.get(key, 0) for scores in found)  # 0 without a detection
        mean *= 100 if metric.endswith('AP') else 1
        assert value == pytest.approx(mean, abs=0.0501), model['Name']


@pytest.mark.parametrize('path', METAFILES[:1] + METAFILES[2:], ids=lambda path: path.parent.name)
def test_a_result_of_a_small_recipe_is_that_of_its_first_lines(path: Path) -> None:
    for model in metafile(path)['Models']:
        assert (ROOT / model['Training Log']).is_file()
        ((metric, value),) = model['Results'][0]['Metrics'].items()
        text = (ROOT / model['Config']).read_text()
        stated = re.search(r'# Expected: (box AP|mIoU) (\d+\.\d) \+-', text)
        assert stated is not None, model['Name']
        assert (stated[1], float(stated[2])) == (metric, value), model['Name']


def test_the_docs_list_the_recipes() -> None:
    """Each once, by its method and where it is not 16 its batch; the miniature as a folder."""
    text = (ROOT / 'docs' / 'recipes.md').read_text().split('## All recipes')[1].split('\n## ')[0]
    listed = re.findall(r'\[([\w-]+)\]\(\.\./(configs/[^)]+\.py)\)(?: \((\d+)\))?', text)
    files = [str(path.relative_to(ROOT)) for path in FILES if path.parent.name != 'miniature']
    assert sorted(name for _, name, _ in listed) == files
    for label, name, batch in listed:
        recipe = parse_recipe(Path(name))
        assert recipe is not None
        assert label in (recipe.method, str(recipe.batch)), name
        assert str(recipe.batch) in (label, batch or '16'), name
