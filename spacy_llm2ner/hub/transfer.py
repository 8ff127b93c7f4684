"""Load pipelines from folders, packages and the Hugging Face hub, and upload them to the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from spacy import util
from spacy.language import Language

from ..errors import Errors, reason
from ..settings import check_choice
from ..tommer.transfer import load_tommer
from .card import write_card
from .hf_call import TASKS, TokenClassification

_CARD = "README.md"
_TOMMER = ("definition.json", "experimaestro.json")  # files of a published ToMMeR head
# Repositories made by spacy-huggingface-hub also hold a wheel with a second copy of the pipeline.
_NOT_NEEDED = ["*.whl", "*.tar.gz"]


@overload
def from_pretrained(
    source: str | Path,
    *,
    llm: str | Path | None = None,
    revision: str | None = None,
    config: Mapping[str, Any] | None = None,
    exclude: list[str] | None = None,
    task: None = None,
) -> Language: ...


@overload
def from_pretrained(
    source: str | Path,
    *,
    llm: str | Path | None = None,
    revision: str | None = None,
    config: Mapping[str, Any] | None = None,
    exclude: list[str] | None = None,
    task: str,
) -> TokenClassification: ...


def from_pretrained(
    source: str | Path,
    *,
    llm: str | Path | None = None,
    revision: str | None = None,
    config: Mapping[str, Any] | None = None,
    exclude: list[str] | None = None,
    task: str | None = None,
) -> Language | TokenClassification:
    """Load a pipeline from a folder, an installed package or the Hugging Face hub.

    source (Union[str, Path]): A folder that `nlp.to_disk` wrote, the name of an installed pipeline
        package, or a hub id ("org/name"). A published ToMMeR head (folder or hub id) is added to a
        blank English pipeline.
    llm (Optional[Union[str, Path]]): Folder or hub id of the LLM, if not the one named by the
        pipeline or the published head. It must be the same LLM.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    config (Optional[Mapping]): Overrides, as for `spacy.load`, e.g.
        {"components.llm2ner.model.llm.name": FOLDER}.
    exclude (Optional[List[str]]): Components that are not loaded.
    task (Optional[str]): "token-classification" or "ner": return a callable with the interface of
        transformers' `pipeline(task)`, whose attribute `nlp` is the pipeline.
    RETURNS (Union[Language, TokenClassification]): The pipeline. Its LLM is loaded with the first
        text.
    RAISES (ValueError): If `task` is another one (E001).
    RAISES (ValueError): If `config` or `exclude` is given for a ToMMeR head (E802), or `llm` for a
        component with several LLMs (E807).
    RAISES (OSError): If there is no such pipeline, or the hub cannot be reached (E803, E804).
    """
    if task is not None:
        check_choice("task", task, TASKS, component="from_pretrained")
        nlp = from_pretrained(source, llm=llm, revision=revision, config=config, exclude=exclude)
        return TokenClassification(nlp)
    path = Path(source).expanduser()
    name = str(source)
    if not path.is_dir() and util.is_package(name):
        package = util.get_package_path(name)
        meta = util.get_model_meta(package)
        path = package / f"{meta['lang']}_{meta['name']}-{meta['version']}"
    if not path.is_dir():
        path = _download(name, revision)
    if not (path / "config.cfg").is_file() and any((path / n).is_file() for n in _TOMMER):
        if config or exclude:
            raise ValueError(Errors.E802.format(source=source))
        return load_tommer(path, llm)
    overrides = {**(_llm_overrides(path, str(llm)) if llm else {}), **(config or {})}
    return util.load_model(path, config=overrides, exclude=exclude or [])


def _download(name: str, revision: str | None) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise OSError(Errors.E803.format(name=name))
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=_NOT_NEEDED))
    except Exception as error:
        raise OSError(Errors.E804.format(name=name, error=reason(error))) from error


def _llm_overrides(folder: Path, llm: str) -> dict[str, str]:
    """Return config overrides that set the LLM of every component of a pipeline on disk."""
    components = util.load_config(folder / "config.cfg").get("components", {})
    for name, component in components.items():
        members = sorted((component.get("model") or {}).get("llm", {}).get("llms", ()))
        if members:
            setting = f"components.{name}.model.llm.llms.{members[0]}.name"
            raise ValueError(
                Errors.E807.format(llm=llm, name=name, members=", ".join(members), setting=setting)
            )
    return {
        f"components.{name}.model.llm.name": llm
        for name, component in components.items()
        if "llm" in (component.get("model") or {})
    }


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

    The LLM is not uploaded unless the component's `bundle_llm` is set.

    nlp (Language): The pipeline.
    repo_id (str): "org/name"; the repository is created if it does not exist.
    private (bool): Whether a new repository is private.
    token (Optional[str]): An access token. None: the one that `huggingface-cli login` stored.
    commit_message (str): The commit's message.
    metrics (Optional[Mapping]): Scores for the card; see `make_card`.
    dataset (Optional[str]): The name of the data that they were measured on.
    license (Optional[str]): The license, as the hub abbreviates it.
    RETURNS (str): The commit's address.
    RAISES (ValueError): If no component has a head on an LLM (E801).
    RAISES (HfHubHTTPError): If the upload fails.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / _CARD
        # First the card: a pipeline that none can be made of is not written.
        write_card(nlp, card, metrics=metrics, dataset=dataset, license=license, repo_id=repo_id)
        nlp.to_disk(folder)
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
    return str(done)
