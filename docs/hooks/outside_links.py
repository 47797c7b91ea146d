"""Makes the site whole: the README is its first page, the benchmarks' one a page; other files are not linked.

The documents link to tests, scripts and configurations beside them. A reader of the repository can follow
those, a reader of the site can't.
"""

import os
import re
from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = PurePosixPath(__file__).parents[2]
BROUGHT_IN = {"README.md": "index.md", "benchmarks/README.md": "benchmarks.md"}
"""Documents from outside docs/, and the page of the site that each becomes."""
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents from outside."""
    for source, page in BROUGHT_IN.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each link at the page it has become, or leave its words without a link."""
    sources = {name: source for source, name in BROUGHT_IN.items()}
    name = page.file.src_uri
    source = PurePosixPath(sources.get(name, f"docs/{name}"))

    def redirect(match: re.Match[str]) -> str:
        words, link = match.groups()
        path, mark, anchor = link.partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        target = os.path.normpath(source.parent / path)
        there = BROUGHT_IN.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
        if not there or (not words.startswith("!") and files.get_file_from_path(there) is None):
            return words.lstrip("!")[1:-1]
        return f"{words}({os.path.relpath(there, PurePosixPath(name).parent)}{mark}{anchor})"

    return LINK.sub(redirect, markdown)
