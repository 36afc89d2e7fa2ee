"""Print how one network of every family of the model zoos is divided into modules."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from torch import nn

import agvm_mm  # noqa: F401  registers the backbones
from agvm_mm.statistics.modules import child_modules, default_modules
from agvm_mm.statistics.partition import covers
from agvm_runs.errors import exit_with_sentence
from agvm_runs.markdown import markdown_line, markdown_table

from .architectures.families import ZOOS, build_network, family_configs

TRIED = 3  # configs of a family


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', default='', help='a regular expression for ZOO/FAMILY')
    parser.add_argument(
        '--modules',
        choices=['default', 'children'],
        default='default',
        help='as agvm.modules; default %(default)s',
    )
    return parser.parse_args()


def main() -> None:
    """Run it."""
    args = parse_args()
    print(markdown_table(['family', 'network', 'modules and % of the trainable numbers'], []))
    for zoo, family, network, why in networks(args.only):
        if network is None:
            row = [f'{zoo} {family}', '', why]
        else:
            row = [f'{zoo} {family}', type(network).__name__, shares(network, args.modules)]
        print(markdown_line(row), flush=True)


def networks(only: str) -> Iterator[tuple[str, str, nn.Module | None, str]]:
    """Zoo, family and network of every family that matches; or None and why none can be built."""
    for zoo in filter(find_spec, ZOOS):
        for family, configs in family_configs(zoo):
            if re.search(only, f'{zoo}/{family}'):
                yield zoo, family, *_first(zoo, configs)


def _first(zoo: str, configs: list[Path]) -> tuple[nn.Module | None, str]:
    why = 'no config'
    for path in configs[:TRIED]:
        try:
            return build_network(zoo, path), path.stem
        except Exception as error:  # whatever a constructor misses
            why = f'{path.stem}: {type(error).__name__}: {str(error).splitlines()[0]}'
    return None, why


def shares(network: nn.Module, modules: str) -> str:
    """The modules with their share of the trainable numbers."""
    owners = (child_modules if modules == 'children' else default_modules)(network)
    sizes: Counter[str] = Counter()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            sizes[owners[name]] += parameter.numel()
    total = sum(sizes.values())
    order = dict.fromkeys(owner for name, owner in owners.items() if covers(owner, name))
    return ', '.join(f'{name} {100 * sizes[name] / total:.3g}' for name in order if sizes[name])


if __name__ == '__main__':
    with exit_with_sentence():
        main()
