"""Puts the pages of the repository into the site, so that GitHub and the site show the same files.

MkDocs reads the pages of one folder, here ``docs/site/pages``, but pages link to each other and to
files outside of ``docs/``. So every file keeps its path in the repository, by which MkDocs resolves
links; only its address in the site begins without ``docs/``.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'docs/*.md',
    'docs/contributing/*.md',
    'docs/results/*.md',
)
FILES = ('docs/images/*', 'docs/*.html', 'docs/results/**/*.json')
# A browser shows them as text; a file that ends in .py it would save.
SOURCES = ('configs/**/*.py', 'examples/*.py')
# Results to which pages link as a whole.
FOLDERS = 'docs/results/**/'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages, images, sources and lists of results."""
    for pattern in (*PAGES, *FILES, *SOURCES, FOLDERS):
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if path.is_dir():
                file = File.generated(config, name, content=_listing(path))
                file.dest_uri += '/index.html'
            else:
                file = File.generated(config, name, abs_src_path=str(path))
                file.dest_uri += '.txt' if pattern in SOURCES else ''
            file.dest_uri = file.dest_uri.removeprefix('docs/')
            files.append(file)
    return files


def _listing(folder: Path) -> str:
    """The files below a folder, as a page of links."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob('*.json'))]
    links = ''.join(f'<li><a href="{name}">{name}</a></li>\n' for name in names)
    return f'<!doctype html>\n<title>{folder.name}</title>\n<ul>\n{links}</ul>\n'
