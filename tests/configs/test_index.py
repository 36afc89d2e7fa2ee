"""The model index and the list in the docs name exactly the recipes that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipes import PATHS, ROOT, header

from agvm_runs.reproduce import TABLES
from agvm_runs.reproduce.figures import Source
from agvm_runs.reproduce.recipes import METHODS, parse_recipe

pytestmark = pytest.mark.configs

FILES = sorted(ROOT.glob('configs/[!_]*/*.py'))
FOLDERS = sorted({path.parent for path in FILES})
every_folder = pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
TECHNIQUES = {
    'sgd': 'SGD with Momentum',
    'adamw': 'AdamW',
    'lars': 'LARS',
    'lamb': 'LAMB',
    'adan': 'Adan',
    'muon': 'Muon',
    'released': 'SGD with Momentum',
}


def metafile(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / 'metafile.yml').read_text())


def test_the_index_imports_every_metafile() -> None:
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index == {'Import': [f'configs/{folder.name}/metafile.yml' for folder in FOLDERS]}


def test_names_of_collections_are_distinct() -> None:
    names = [entry['Name'] for folder in FOLDERS for entry in metafile(folder)['Collections']]
    assert len(names) == len(set(names)) == len(FOLDERS)


@every_folder
def test_a_metafile_names_the_recipes_of_its_folder(folder: Path) -> None:
    models = metafile(folder)['Models']
    files = [path for path in FILES if path.parent == folder]
    assert [model['Config'] for model in models] == [str(p.relative_to(ROOT)) for p in files]
    assert [model['Name'] for model in models] == [path.stem for path in files]


@every_folder
def test_a_collection_says_where_it_comes_from(folder: Path) -> None:
    content = metafile(folder)
    assert set(content) == {'Collections', 'Models'}
    (collection,) = content['Collections']
    assert {model['In Collection'] for model in content['Models']} == {collection['Name']}
    assert re.fullmatch(r'https://arxiv\.org/abs/\d{4}\.\d{5}', collection['Paper']['URL'])
    assert collection['Paper']['Title'] and collection['Metadata']['Architecture']
    assert (ROOT / collection['README']).is_file()


@every_folder
def test_metadata_are_those_of_the_recipe(folder: Path) -> None:
    for model in metafile(folder)['Models']:
        recipe, metadata = parse_recipe(ROOT / model['Config']), model['Metadata']
        assert recipe is not None and recipe.method in METHODS
        assert metadata['Batch Size'] == recipe.batch
        if recipe.unit == 'e':
            assert metadata['Epochs'] == recipe.length and 'Iterations' not in metadata
        else:
            assert metadata['Iterations'] * recipe.batch == recipe.trained_images
        (optimizer,) = {TECHNIQUES[part] for part in recipe.method.split('-') if part in TECHNIQUES}
        methods = ['AGVM'] if recipe.method.startswith('agvm-') else []
        methods += ['EfficientTrain++'] if recipe.method.endswith('-curriculum') else []
        methods += ['K-FAC'] if 'kfac' in recipe.method.split('-') else []
        agc = ['Adaptive Gradient Clipping'] if recipe.method.endswith('-agc') else []
        assert metadata['Training Techniques'] == [*methods, optimizer, *agc]
        assert metadata['Training Data'].lower().replace('generated ', '') in model['Name']


def unproved(model: dict[str, Any]) -> list[str]:
    """The results of a metafile's model that are not in the log that stands beside them."""
    log = ROOT / model.get('Training Log', 'missing')
    text = log.read_text() if log.is_file() else ''
    metrics = [pair for result in model.get('Results', ()) for pair in result['Metrics'].items()]
    return [
        f'{name} {value}'
        for name, value in metrics
        if not re.search(rf'(?<![\d.]){re.escape(str(value))}(?!\d)', text)
    ]


@every_folder
def test_results_are_measured_ones(folder: Path) -> None:
    for model in metafile(folder)['Models']:
        assert unproved(model) == [], model['Name']


def test_a_result_without_its_log_is_found(tmp_path: Path) -> None:
    """No recipe of the index has a result yet."""
    log = tmp_path / 'run.log'
    log.write_text('coco/bbox_mAP: 36.61')
    entry: dict[str, Any] = dict(Results=[dict(Metrics={'box AP': 36.6, 'mask AP': 36.61})])
    assert unproved(entry) == ['box AP 36.6', 'mask AP 36.61']
    assert unproved({**entry, 'Training Log': str(log)}) == ['box AP 36.6']
    assert unproved({}) == []


def test_the_tables_expect_what_the_recipes_expect() -> None:
    """Figure and kind of source, in the first lines of a recipe and in the tables."""
    in_tables: dict[Path, set[tuple[float, bool]]] = {path: set() for path in PATHS}
    for table in TABLES.values():
        for place, recipe in table.recipes(ROOT / 'configs').items():
            figure = table.figures.get(place)
            if figure is not None and figure.value is not None:
                in_tables[recipe.path].add((figure.value, figure.source is Source.SECONDARY))
    for path, figures in in_tables.items():
        text = header(path)['Expected']
        stated = re.match(r'(?:box|mask) AP (\d+\.\d)\b', text)
        expected = {(float(stated[1]), 'secondary source' in text)} if stated else set()
        assert figures == expected, path.name


def test_the_docs_list_the_recipes() -> None:
    text = (ROOT / 'docs' / 'recipes.md').read_text()
    listed = re.findall(r'\[(\d+) x (\d+)\]\(\.\./(configs/[^)]+\.py)\)', text)
    files = [str(path.relative_to(ROOT)) for path in FILES]
    assert sorted(name for _, _, name in listed) == files
    for gpus, images, name in listed:
        recipe = parse_recipe(Path(name))
        assert recipe is not None and (recipe.gpus, recipe.images) == (int(gpus), int(images))


def test_the_docs_put_every_recipe_where_it_belongs() -> None:
    """Title, row and column of a cell are model, method and batch of its recipe."""
    model, batches = '', []
    for line in (ROOT / 'docs' / 'recipes.md').read_text().split('## All recipes')[1].splitlines():
        if line.startswith('### '):
            model = line.split()[1]
        elif line.startswith('| method'):
            batches = [int(text) for text in line.strip('|').split('|')[1:]]
        elif '(../configs/' in line:
            method, *cells = (text.strip() for text in line.strip().strip('|').split('|'))
            for batch, cell in zip(batches, cells):
                if cell:
                    recipe = parse_recipe(Path(cell.split('(')[1].rstrip(')')))
                    assert recipe is not None
                    assert (recipe.model, recipe.method, recipe.batch) == (model, method, batch)
