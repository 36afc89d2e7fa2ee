"""Package metadata; everything else about the tools is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# What trains, and what reads runs without torch.
PACKAGES = ('agvm_mm', 'agvm_runs')
# What mim and MMEngine's get_config look for in the folder .mim of an installed package.
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Adds .mim to the package: copies, or for an editable installation links in the checkout."""

    def run(self) -> None:
        """Build."""
        if self.editable_mode:
            _link_mim(ROOT / 'agvm_mm' / '.mim')
        else:
            library = Path(self.build_lib)
            # Files that have gone since the build before would be packed as well.
            for name in PACKAGES:
                shutil.rmtree(library / name, ignore_errors=True)
            entry = ('agvm_mm', str(ROOT), str(library / 'agvm_mm' / '.mim'), _mim_files())
            self.data_files = [*self.data_files, entry]
        super().run()


def _mim_files() -> list[str]:
    found = [path for name in MIM for path in (ROOT / name, *(ROOT / name).rglob('*'))]
    return sorted(
        str(path.relative_to(ROOT))
        for path in found
        if path.is_file() and '__pycache__' not in path.parts
    )


def _link_mim(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in MIM:
        if not (folder / name).exists():
            (folder / name).symlink_to(Path('..', '..', name))


version: dict[str, str] = {}
exec((ROOT / 'agvm_mm' / 'version.py').read_text(), version)

setup(
    name='agvm_mm',
    version=version['__version__'],
    description='Large-batch training of detectors and segmenters: AGVM, K-FAC, Muon, LAMB',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The agvm_mm authors',
    license='Apache-2.0',
    packages=find_packages(include=[name for one in PACKAGES for name in (one, f'{one}.*')]),
    package_data={'agvm_mm': ['py.typed'], 'agvm_runs': ['py.typed', 'reproduce/published.json']},
    cmdclass={'build_py': BuildWithMim},
    python_requires='>=3.10',
    # MMEngine comes under two sets of distribution names that install the same packages, so the
    # user chooses one by an extra; asking for either here would pull it in beside the other.
    install_requires=['numpy>=1.26', 'torch>=2.1'],
    # agvm_mm.attach needs neither.
    extras_require={
        'mmengine': ['mmengine>=0.10.4'],
        'onedl': [
            'onedl-mmengine>=0.10.12',
            'onedl-mmcv>=2.3.6',
            'onedl-mmdetection>=3.5.1',
            'onedl-mmsegmentation>=1.4.2',
        ],
        'openmmlab': [
            'mmengine>=0.10.4',
            'mmcv>=2.1,<2.2',
            'mmdet>=3.3',
            'mmsegmentation>=1.2',
        ],
        # LARS, Adan and SOAP; everything else of the package goes without.
        'optimizers': ['pytorch_optimizer>=4.1'],
        # What the examples besides the plain loop train with.
        'examples': ['accelerate', 'lightning', 'transformers'],
        'docs': (ROOT / 'docs' / 'site' / 'requirements.txt').read_text().split(),
        'dev': [
            'coverage>=7.10',
            'hypothesis',
            'markdown',
            'markdown-it-py',
            'matplotlib',
            'mypy',
            'pytest',
            'pytest-timeout',
            'pytest-xdist',
            'pytorch_optimizer>=4.1',
            'rich',
            'ruff',
            'tensorboard',
            'torchmetrics',
        ],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
)
