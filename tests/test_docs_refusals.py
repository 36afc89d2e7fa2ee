"""docs/training.md lists every refusal; what is said then is in the code and expected by a test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'agvm_mm'
PAGE = ROOT / 'docs' / 'training.md'
REFUSING = [
    path.relative_to(PACKAGE)
    for room in ('parts', 'loop', 'wrappers')
    for path in sorted((PACKAGE / room).glob('*.py'))
    if re.search(r'^ +raise ', path.read_text(), re.MULTILINE)
]
# Refusals of a value or a checkpoint, which are not about a combination and so not in the list.
ELSEWHERE = (
    'allowed is a dict such as dict(max_norm=35)',
    'the checkpoint holds AGVM state of version',
    'load_state_dict() was given',
    'is of the type',
)


def _flat(paths: list[Path]) -> str:
    """Source text with adjoining string literals joined and regular expressions unescaped."""
    text = '\n'.join(path.read_text() for path in paths)
    return re.sub(r"""['"]\s*\n\s*[rf]?['"]""", '', text).replace('\\', '')


SOURCE = _flat(sorted([*PACKAGE.rglob('*.py'), *(ROOT / 'agvm_runs').rglob('*.py')]))
LISTED = {
    'one process without accumulation': (
        'AGVM measures the variance between sample gradients, and this run has one',
    ),
    'mixed precision without a GPU': ('needs a GPU and none was found',),
    '`total_batch_size` or a `rule` under another launcher': (
        'the launcher of this run does not know it',
        'run does not know it and would scale the learning rate linearly and alone',
    ),
    'data that does not exist': (' does not exist; correct it ',),
    'LBFGS, ZeroRedundancyOptimizer, Lookahead, SAM': (
        'whose parameter groups have no `lr`, so',
        'whose param_groups cannot be set, so AGVM',
        'which keeps its own copy of the parameter groups, so AGVM cannot scale its learning rates',
        'which wraps another optimizer',
    ),
    'several for one model, also with `ExactAccumulationHook`': (
        'needs one optimizer for the whole model',
    ),
    'one that changes its groups, such as `ScheduleFreeAdamW`': (
        'in its parameter groups during step(), which AGVM cannot carry over',
        'in its parameter groups and changed it',
    ),
    '`MuonOptimizer` without its [constructor](optimizers.md#muon), with FSDP or `fully_shard`': (
        'nothing says which parameters are its matrices',
        'which leaves a rank no whole matrix',
        'was given DTensor parameters',
    ),
    'all trainable parameters in one module': ('so AGVM has no other module whose',),
    'a wrong anchor': (
        'is not a module of this model',
        'has no trainable parameter',
        'is the end of several names',
    ),
    'sparse embeddings': ('is an embedding with sparse gradients, which',),
    'a parameter of two modules': ('is shared with',),
    "`precondition` of an unknown optimizer, or `'kfac'` without K-FAC": (
        'has no registered second moment; known are',
        'but K-FAC is off',
    ),
    'a compiled model': ('torch.compile skips the hooks with which K-FAC measures',),
    'a batch without the number of images': ('K-FAC needs the number of images of a batch',),
    'DataParallel, FSDP, tensor parallelism, DeepSpeed': (
        'which adds up the gradients of its replicas before they can be measured',
        'which leaves every rank a shard of the mean gradient',
        'works with MMDistributedDataParallel',
        'is a DTensor, which fully_shard and tensor parallelism',
        'strategy.type is DeepSpeedStrategy',
    ),
    'wrappers of a part, of your own, or none': (
        'which wraps every child separately, for several optimizers',
        'and it is not known how that averages gradients',
        'around the whole model',
        'cannot tell how its gradients are averaged',
    ),
    'other uses of `fully_shard`': (
        'of several modules in one group',
        'fully_shard did not reduce any gradient in a backward pass',
        'of fully_shard lets the collective multiply',
    ),
    'DDP with `mixed_precision`': ('was given mixed_precision, which trains on cast copies of',),
    '`static_graph` with accumulation': (
        'has static_graph=True and optim_wrapper.accumulative_counts',
    ),
    'a parameter that is thawed later, on several ranks': (
        'which does not average its gradient, so the ranks',
    ),
    're-entrant checkpointing of a layer used twice': (
        'received its gradient in two parts within one backward pass',
    ),
    'a step in a captured CUDA graph': ('is stepping while a CUDA graph is captured',),
    'without `optim_context`;': ('has not seen the model: run the forward pass inside',),
    '; with `ExactAccumulationHook`;': (
        'whose batches ExactAccumulationHook cannot see',
        '1 with ExactAccumulationHook',
    ),
    '`attach` twice, with contradicting arguments, or with too many passes': (
        'is attached already, and its learning rates',
        'give modules once, for a run with agvm',
        'allowed is a dict with options of adaptive clipping',
        'without a step of',
    ),
    "DDP's `join()`": ('is inside of join(), where ranks end at different times',),
}
"""Cases of the page's list, and what is said then."""
QUOTES = [quote for quotes in LISTED.values() for quote in quotes]


@pytest.mark.parametrize('case', LISTED)
def test_a_case_is_on_the_page(case: str) -> None:
    assert case in PAGE.read_text().split('## What is refused')[1]


@pytest.mark.parametrize('quote', QUOTES)
def test_a_listed_refusal_is_said_by_the_code(quote: str) -> None:
    assert quote in SOURCE


@pytest.mark.parametrize('quote', QUOTES)
def test_a_listed_refusal_is_expected_by_a_test(quote: str) -> None:
    half = len(quote) // 2 + 1
    parts = [quote[i : i + half] for i in range(len(quote) - half + 1)]
    assert any(part in text for text in _all_expected() for part in parts)


@cache
def _all_expected() -> frozenset[str]:
    """What any test but this one compares messages with."""
    files = [path for path in (ROOT / 'tests').rglob('test_*.py') if path != Path(__file__)]
    return frozenset().union(*map(_expected, files))


@cache
def _expected(path: Path) -> set[str]:
    """What a test file compares messages with: the strings of ``match=`` and before ``in``.

    A name there stands for the strings that are assigned to it or given by ``parametrize``.
    """
    nodes = list(ast.walk(ast.parse(path.read_text())))
    matched = [
        node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == 'match'
    ]
    compares = [node for node in nodes if isinstance(node, ast.Compare)]
    matched += [node.left for node in compares if isinstance(node.ops[0], ast.In)]
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    lists = [
        node.args
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('.parametrize')
    ]
    names: set[str] = set()
    more = {name for node in matched for name in _names(node)}
    while more:
        names |= more
        values = [node.value for node in assigned if _names(*node.targets) & more]
        values += [table for keys, table, *_ in lists if set(_strings(keys)) & more]
        matched += values
        more = {name for value in values for name in _names(value)} - names
    return {text.replace('\\', '') for node in matched for text in _strings(node)}


def _names(*trees: ast.AST) -> set[str]:
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _strings(tree: ast.AST) -> Iterator[str]:
    """Literals, and the fixed parts of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_strings_that_are_only_in_a_comparison_count(tmp_path):
    file = tmp_path / 'test_it.py'
    file.write_text(
        "TABLE = {'a': ('one', SHORT)}\nSHORT = 'two'\nLOG = 'three'\n"
        "@pytest.mark.parametrize(('kind', 'words'), [('four', r'f\\.ve')])\n"
        'def test_it(kind, words):\n'
        "    _, sentence = TABLE['a']\n"
        "    assert sentence in text and 'six' in text and text == 'seven'\n"
        '    with pytest.raises(ValueError, match=words):\n'
        "        call('eight')\n"
    )
    # A table is taken as a whole.
    assert _expected(file) == {'a', 'one', 'two', 'four', 'f.ve', 'six'}


def _sentences(file: Path) -> list[str]:
    """The fixed parts of what a file of the package raises, one string a refusal."""
    tree = ast.parse((PACKAGE / file).read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    sentences = []
    for function in functions.values():
        if ast.get_docstring(function) is not None:
            del function.body[0]
        raises = [node for node in ast.walk(function) if isinstance(node, ast.Raise)]
        raised = [node for node in raises if node.exc is not None]  # the others pass on
        # Parts of a function's only sentence may be put together before, or in another function.
        whole: list[ast.AST] = [function] if len(raised) == 1 else [*raised]
        sentences += [
            _constants(maker) if (maker := functions.get(_called(node))) else _constants(part)
            for node, part in zip(raised, whole)
        ]
    return sentences


def _called(node: ast.Raise) -> str:
    call = node.exc
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ''


def _constants(tree: ast.AST) -> str:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return ' '.join(node.value for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize('file', REFUSING, ids=str)
def test_every_refusal_in_the_code_is_listed(file: Path) -> None:
    sentences = _sentences(file)
    assert sentences
    for sentence in sentences:
        assert any(quote in sentence for quote in (*QUOTES, *ELSEWHERE)), sentence


@pytest.mark.parametrize('sentence', ELSEWHERE)
def test_what_is_not_on_the_page_is_in_the_code(sentence: str) -> None:
    assert sum(sentence in raised for file in REFUSING for raised in _sentences(file)) == 1


def test_there_are_refusals() -> None:
    assert len(QUOTES) >= 30 and len(REFUSING) >= 8
