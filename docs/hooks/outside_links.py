"""Completes the site: adds the README and the benchmarks page, and unlinks files that are not pages.

The documents link to tests, scripts and configurations in the repository, which the site does not contain.
"""

import os
import re
from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = PurePosixPath(__file__).parents[2]
BROUGHT_IN = {"README.md": "index.md", "benchmarks/README.md": "benchmarks.md"}
"""Documents outside docs/ and their pages on the site."""
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents from outside."""
    for source, page in BROUGHT_IN.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point each link at its page on the site; keep only the text of links to other files."""
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
