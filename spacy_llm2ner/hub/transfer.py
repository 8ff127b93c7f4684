"""Pipelines from the hub, and to it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language

from .card import make_card

_CARD = "README.md"
# A repository of spacy-huggingface-hub holds a wheel as well, with everything in it once more.
_NOT_NEEDED = ["*.whl", "*.tar.gz"]


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    config: Mapping[str, Any] | None = None,
    exclude: list[str] | None = None,
) -> Language:
    """Load a pipeline from a folder, an installed package or the Hugging Face hub.

    source (Union[str, Path]): A folder that `nlp.to_disk` wrote, the name of an installed pipeline
        package, or a hub id ("org/name").
    revision (Optional[str]): Branch, tag or commit of a hub id.
    config (Optional[Mapping]): Overrides, as for `spacy.load`, e.g.
        {"components.llm2ner.model.llm.name": FOLDER}.
    exclude (Optional[List[str]]): Components that are not loaded.
    RETURNS (Language): The pipeline. Its LLM is loaded when the first text comes.
    RAISES: OSError if there is no such pipeline, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    name = str(source)
    options: dict[str, Any] = {"config": dict(config or {}), "exclude": exclude or []}
    if path.is_dir() or util.is_package(name):
        return util.load_model(source if not path.is_dir() else path, **options)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise OSError(
            f"llm2ner: '{source}' is neither a folder with a pipeline, nor an installed pipeline "
            f"package, nor a hub id ('org/name')."
        )
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, ignore_patterns=_NOT_NEEDED)
    except Exception as error:
        raise OSError(
            f"llm2ner: the pipeline '{source}' is no local folder and cannot be fetched from the "
            f"hub ({error})."
        ) from error
    return util.load_model(Path(folder), **options)


def push_to_hub(
    nlp: Language,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str = "Add pipeline",
    metrics: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    license: str | None = None,
) -> str:
    """Upload a pipeline and its model card to the Hugging Face hub.

    The LLM does not go along, unless the component's `bundle_llm` says so.

    nlp (Language): The pipeline.
    repo_id (str): "org/name"; made if there is none.
    private (bool): Whether a repository that is made is private.
    token (Optional[str]): An access token. None: the one that `huggingface-cli login` stored.
    commit_message (str): The commit's message.
    metrics, dataset, license: For the card; see `make_card`.
    RETURNS (str): The commit's address.
    RAISES: ValueError if no component has a head on an LLM; what huggingface_hub raises if the
        upload fails.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    card = make_card(nlp, metrics=metrics, dataset=dataset, license=license, repo_id=repo_id)
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(folder)
        (Path(folder) / _CARD).write_text(card, encoding="utf8")
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
    return str(done)
