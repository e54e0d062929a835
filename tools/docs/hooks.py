"""Hooks of mkdocs: pages of the API, and pages for the files of the repository that documents link to.

A document links to files as a code host shows them, such as `../CONTRIBUTING.md`. The site has a copy of
each such file below `repository/`, so that it is complete by itself.
"""

import pathlib
import posixpath
import re
import sys

from mkdocs.structure.files import File, InclusionLevel

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import api_index  # noqa: E402

REPOSITORY = "repository/"
# Listed beside the modules of the index: it has the functions of `tfhash_ops` once more.
PAGES = (*api_index.MODULES, "tfhash_ops.jax")

_LINK = re.compile(r"\]\(([^)#\s]+)((?:#[^)\s]*)?)\)")
# The site loads nothing from elsewhere: badges become their texts.
_REMOTE_IMAGE = re.compile(r"!\[([^\]]*)\]\(https?:[^)]*\)")
_API_ROW = re.compile(r"^\| `([\w.]+)` \| `(\w+)` \|", re.MULTILINE)


def on_config(config):
    """Lists the pages of the API."""
    (section,) = (entry["API"] for entry in config.nav if "API" in entry)
    section += [{module: _page_of(module)} for module in PAGES]
    return config


def on_files(files, config):
    """Adds the pages of the API and the files that documents link to."""
    for module in PAGES:
        text = f"# `{module}`\n\n::: {module}\n"
        files.append(File.generated(config, _page_of(module), content=text))
    to_read = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.abs_src_path]
    while to_read:
        document = to_read.pop()
        text = (ROOT / document).read_text(encoding="utf-8")
        linked = {_target(document, match[1]) for match in _LINK.finditer(text)}
        for path in sorted(filter(None, linked)):
            if _is_outside(path) and files.get_file_from_path(_site_path(path)) is None:
                files.append(
                    File.generated(
                        config,
                        _site_path(path),
                        abs_src_path=str(ROOT / path),
                        inclusion=InclusionLevel.NOT_IN_NAV,
                    )
                )
                to_read += [path] if path.endswith(".md") else []
    return files


def on_page_markdown(markdown, page, **_):
    """Leads links to the pages of the site, and names in the index of the API to their docstrings."""
    uri = page.file.src_uri
    if uri == "api.md":
        return _API_ROW.sub(_linked_row, markdown)
    document = uri[len(REPOSITORY) :] if uri.startswith(REPOSITORY) else f"docs/{uri}"

    def lead(match):
        path = _target(document, match[1])
        if path is None:
            return match[0]
        relative = posixpath.relpath(_site_path(path), posixpath.dirname(uri) or ".")
        return f"]({relative}{match[2]})"

    return _LINK.sub(lead, _REMOTE_IMAGE.sub(r"\1", markdown))


def _page_of(module):
    return f"api/{module}.md"


def _linked_row(match):
    module, name = match.groups()
    return f"| [`{module}`]({_page_of(module)}) | [`{name}`][{module}.{name}] |"


def _is_outside(path):
    return not path.startswith("docs/")


def _site_path(path):
    return REPOSITORY + path if _is_outside(path) else path.removeprefix("docs/")


def _target(document, link):
    """Path below the root of the file that a document links to; `None` if there is no such file."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), link))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None
