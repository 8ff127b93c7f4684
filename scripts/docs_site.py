"""The documentation site: mkdocs hooks, and docstrings as Markdown.

`make docs` builds the site; mkdocs.yml names this file. Three things are added to docs/:

1. README.md, CONTRIBUTING.md and benchmarks/README.md become pages (`PAGES`);
2. files of the repository that pages link to are copied into the site, and the links rewritten;
3. API pages are generated from the entry points in setup.cfg and from `PYTHON`.

No docstring parser supports spaCy's style: `SpacyDocstrings` converts the docstrings to Markdown.
"""

from __future__ import annotations

import configparser
import importlib
import inspect
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

try:
    from griffe import Extension
except ImportError:  # the tests read `PYTHON` and `entry_points` without the extra `docs`
    Extension = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from griffe import Object
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Pages of the site that are files elsewhere in the repository.
PAGES = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "developers/contributing.md": "CONTRIBUTING.md",
}
# Folder in the site for other files of the repository that pages link to.
COPIES = "repository"
# Documented Python imports: section -> names in import statements.
PYTHON = {
    "Pipelines": ("spacy_llm2ner.from_pretrained", "spacy_llm2ner.push_to_hub"),
    "ToMMeR heads": (
        "spacy_llm2ner.tommer.transfer.load_tommer",
        "spacy_llm2ner.tommer.transfer.save_tommer",
        "spacy_llm2ner.heads.TokenMatching",
    ),
    "Corpora": tuple(
        f"spacy_llm2ner.corpora.{name}"
        for name in (
            *("ConllCorpus", "JsonlCorpus", "HFDatasetCorpus", "TextCorpus", "JoinedCorpus"),
            *("read_conll", "parse_conll"),
            *("make_docs", "spaces_for", "detect_scheme", "spans_to_tags"),
        )
    ),
    "Calibration": tuple(
        f"spacy_llm2ner.calibration.{name}"
        for name in (
            *("threshold_search.Objective", "calibrate.CalibrationSettings"),
            *("calibrate.calibrate_pipe", "calibrate.apply_calibration"),
        )
    ),
    "Evaluation": tuple(
        f"spacy_llm2ner.evaluation.evaluate.{name}"
        for name in (
            *("EvaluationSettings", "evaluate", "evaluate_casings", "Evaluation"),
            *("compare_pipelines", "Comparison"),
        )
    ),
}
# Generated page -> its title, and the groups of entry points that it lists.
REGISTERED = {
    "api/components.md": ("Components", ("spacy_factories",)),
    "api/models.md": ("Models", ("spacy_architectures",)),
    "api/registered.md": (
        "Losses, store, scorers, callbacks, readers",
        (
            *("spacy_misc", "spacy_scorers", "spacy_callbacks", "spacy_readers"),
            "spacy_augmenters",
            "spacy_displacy_colors",
        ),
    ),
}
GROUPS = {
    "spacy_factories": "Factories",
    "spacy_architectures": "Architectures",
    "spacy_misc": "Losses and the store",
    "spacy_scorers": "Scorers",
    "spacy_callbacks": "Callbacks",
    "spacy_readers": "Corpus readers",
    "spacy_augmenters": "Augmenters",
    "spacy_displacy_colors": "Colours of displaCy",
}


def entry_points(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """The entry points of setup.cfg: group -> registered name -> dotted name of its function.

    root (Path): The folder of setup.cfg.
    RETURNS (Dict[str, Dict[str, str]]): The entry points, in the file's order.
    """
    config = configparser.ConfigParser()
    config.optionxform = str  # type: ignore[assignment, method-assign]
    config.read(root / "setup.cfg", encoding="utf8")
    groups: dict[str, dict[str, str]] = {}
    for group, lines in config["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("="))
            groups.setdefault(group, {})[name] = target.replace(":", ".")
    return groups


# API pages -----------------------------------------------------------------------------------


def api_pages() -> dict[str, str]:
    """The API pages as Markdown, with mkdocstrings' `:::` blocks.

    RETURNS (Dict[str, str]): Path in the site -> content.
    """
    registered = entry_points()
    pages = {}
    overview = [
        "# API",
        "",
        "Generated from the docstrings. All settings of configs, with defaults, are in "
        "[Settings](../reference.md).",
    ]
    for path, (title, groups) in REGISTERED.items():
        lines = [f"# {title}", ""]
        for group in groups:
            lines += [f"## {GROUPS[group]}", ""]
            overview += ["", f"## {GROUPS[group]}", ""]
            for name, target in registered[group].items():
                lines += _block(name, target)
                overview.append(f"- [`{name}`]({PurePosixPath(path).name}#{target})")
                if group == "spacy_factories":
                    component = _class_of(target)
                    lines += _block(component.rpartition(".")[2], component)
        pages[path] = "\n".join(lines) + "\n"
    lines = ["# Python functions", ""]
    overview += ["", "## Python functions", ""]
    for title, names in PYTHON.items():
        lines += [f"## {title}", ""]
        for name in names:
            target = home_of(name)
            lines += _block(name, target)
            overview.append(f"- [`{name}`](python.md#{target})")
    pages["api/python.md"] = "\n".join(lines) + "\n"
    overview += ["", "## Errors", "", "- [All errors by code](errors.md)"]
    pages["api/errors.md"] = _errors_page()
    pages["api/index.md"] = "\n".join(overview) + "\n"
    return pages


def _errors_page() -> str:
    """The catalogue of errors, as users see them."""
    errors = importlib.import_module("spacy_llm2ner.errors").Errors
    lines = [
        *("---", "hide: [toc]", "---", "# Error codes", ""),
        "Texts of the package's errors. The parts in braces are filled in. Warnings have a page "
        "of [their own](../warnings.md).",
    ]
    for code in sorted(name for name in vars(errors) if not name.startswith("_")):
        prefix, text = getattr(errors, code).split("] ", 1)
        text = textwrap.fill(text.replace("{{", "{").replace("}}", "}"), 90)
        lines += ["", f"### {prefix.lstrip('[')}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def _block(name: str, target: str) -> list[str]:
    """An object's documentation, under its public name."""
    label = name if name.endswith(".v1") else name.rpartition(".")[2]
    options = [f"      heading: {name}", f"      toc_label: {label.removeprefix('spacy_llm2ner.')}"]
    return [f"::: {target}", "    options:", *options, ""]


def home_of(name: str) -> str:
    """The location where a documented import is defined.

    name (str): Its dotted name.
    RETURNS (str): The dotted name of the definition.
    """
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    return f"{found.__module__}.{found.__qualname__}"


def _class_of(factory: str) -> str:
    """The component of a factory, from its annotation: a class, or its name as a string."""
    module_name, _, name = factory.rpartition(".")
    module = importlib.import_module(module_name)
    made = inspect.signature(getattr(module, name)).return_annotation
    made = getattr(module, made) if isinstance(made, str) else made
    return f"{made.__module__}.{made.__qualname__}"


# Docstrings ----------------------------------------------------------------------------------

_FIELD = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \((.+?)\))?: (.*)")
_KEYWORDS = {"RETURNS": "Returns", "YIELDS": "Yields", "RAISES": "Raises", "DOCS": "See"}


def markdown_of(docstring: str, parameters: set[str] | None = None) -> str:
    """Turn a docstring in spaCy's style into Markdown.

    docstring (str): The docstring, without indentation.
    parameters (Optional[Set[str]]): Names of arguments and attributes. None: every line of the form
        `name (Type): text` describes one.
    RETURNS (str): The text, then a list of arguments, results and errors.
    """
    text: list[str] = []
    fields: list[tuple[str, str, str]] = []
    open_field = False
    for line in inspect.cleandoc(docstring).splitlines():
        match = _FIELD.fullmatch(line)
        if match and _is_field(match, parameters):
            fields.append((match[1], match[2] or "", match[3].strip()))
            open_field = True
        elif open_field and line.startswith("    "):
            name, kind, said = fields[-1]
            fields[-1] = (name, kind, f"{said} {line.strip()}")
        else:
            open_field = False
            text.append(line)
    return "\n".join([*text, *_list_of(fields)]).strip() + "\n"


def _is_field(match: re.Match[str], parameters: set[str] | None) -> bool:
    names = match[1].replace("*", "").split(", ")
    if names[0] in _KEYWORDS or parameters is None:
        return True
    return match[2] is not None or set(names) <= parameters


def _list_of(fields: list[tuple[str, str, str]]) -> Iterator[str]:
    arguments = [field for field in fields if field[0] not in _KEYWORDS]
    if arguments:
        yield from ("", "**Arguments**", "")
        for name, kind, said in arguments:
            names = ", ".join(f"`{part}`" for part in name.split(", "))
            yield f"- {names}{f' (`{kind}`)' if kind else ''}: {said}"
    for name, kind, said in fields:
        if name == "DOCS":
            yield from ("", f"See <{said}>." if said.startswith("http") else f"See {said}.")
        elif name in _KEYWORDS:
            yield from ("", f"**{_KEYWORDS[name]}**{f' (`{kind}`)' if kind else ''}: {said}")


class SpacyDocstrings(Extension):
    """Converts docstrings of the package to Markdown for mkdocstrings."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite an object's docstring.

        obj (Object): An object of griffe: a module, a class, a function, an attribute.
        """
        if obj.docstring is None:
            return
        names: set[str] = set()
        if obj.is_function:
            names = {parameter.name.lstrip("*") for parameter in obj.parameters}  # type: ignore[attr-defined]
        elif obj.is_class:
            names = set(obj.members)
            if "__init__" in obj.members:
                names |= {p.name.lstrip("*") for p in obj.members["__init__"].parameters}  # type: ignore[union-attr]
        obj.docstring.value = markdown_of(obj.docstring.value, names)


# mkdocs hooks --------------------------------------------------------------------------------

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def site_path(target: Path) -> str | None:
    """The location of a repository file in the site.

    target (Path): The file's absolute path.
    RETURNS (Optional[str]): Its path in the site's sources; None if there is no such file.
    """
    if not target.is_file() or ROOT not in target.parents:
        return None
    name = target.relative_to(ROOT).as_posix()
    moved = {source: page for page, source in PAGES.items()}
    if name in moved:
        return moved[name]
    return name.removeprefix("docs/") if name.startswith("docs/") else f"{COPIES}/{name}"


def source_of(page: str) -> Path:
    """The file of the repository that a page of the site comes from.

    page (str): The page's path in the site's sources.
    RETURNS (Path): The file's absolute path.
    """
    if page in PAGES:
        return ROOT / PAGES[page]
    copies = f"{COPIES}/"
    return ROOT / page.removeprefix(copies) if page.startswith(copies) else ROOT / "docs" / page


def rewritten(markdown: str, page: str) -> tuple[str, set[str]]:
    """Convert a page's links to files of the repository for the site.

    markdown (str): The text.
    page (str): The page's path in the site's sources.
    RETURNS (Tuple[str, Set[str]]): The new text, and the files that it links to, by their paths in
        the site's sources.
    """
    folder = source_of(page).parent
    linked: set[str] = set()

    def link(match: re.Match[str]) -> str:
        path = None if "://" in match[2] else site_path((folder / match[2]).resolve())
        if path is None:
            return match[0]
        linked.add(path)
        relative = os.path.relpath(path, PurePosixPath(page).parent)
        return f"{match[1]}{PurePosixPath(relative)}{match[3]}"

    parts = _FENCED.split(markdown)
    done = [part if part.startswith("```") else _LINK.sub(link, part) for part in parts]
    return "".join(done), linked


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/, and the files that pages link to.

    files (Files): The files of docs/.
    config (MkDocsConfig): The site's configuration.
    RETURNS (Files): The files of the site.
    """
    from mkdocs.structure.files import File

    for path, content in api_pages().items():
        files.append(File.generated(config, path, content=content))
    for path, source in PAGES.items():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    waiting = [file.src_uri for file in files if file.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        if page.startswith("api/"):
            continue
        _, linked = rewritten(source_of(page).read_text(encoding="utf8"), page)
        for path in sorted(linked):
            if files.get_file_from_path(path) is None:
                files.append(File.generated(config, path, abs_src_path=str(source_of(path))))
                if path.endswith(".md"):
                    waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite a page's links to files of the repository.

    markdown (str): The page's text.
    page (Page): The page.
    RETURNS (str): The text with links that the site has.
    """
    uri = page.file.src_uri
    return markdown if uri.startswith("api/") else rewritten(markdown, uri)[0]


def on_post_build(config: MkDocsConfig) -> None:
    """Reject a site that would load resources from elsewhere.

    config (MkDocsConfig): The site's configuration.
    RAISES (SystemExit): If a page names an external script, style sheet, image or font.
    """
    outside = re.compile(
        r"<(?:script|img|iframe)[^>]*\bsrc=[\"']?(?:https?:)?//|"
        r"<link[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload)[^>]*https?://|"
        r"url\([\"']?(?:https?:)?//"
    )
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = outside.search(path.read_text(encoding="utf8"))
            if found:
                raise SystemExit(f"{path} fetches something from elsewhere: {found[0]}")
