"""The gate's fixtures: `python -m tests.gate.make`, from the root of the source tree.

One small pipeline of each component and head kind, on random LLMs, with all that it finds, its
bytes and a few steps of its training. The test beside it finds the same again. They were made
before the modules moved (docs/decisions.md), and are never made anew, except when a change of
behaviour is meant and recorded in docs/decisions.md. So this refuses to overwrite a kind: delete
the folders of the kinds whose behaviour was changed, and no others. Losses alone, of kinds whose
pipelines stay as they were saved, are made anew by `python -m tests.gate.make --losses KIND ...`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.util import registry
from thinc.api import fix_random_seed

from tests.gate import kinds
from tests.gate.kinds import BERT, CHAT, KINDS, LLAMA, SAVED, SHELF, T5, TOMMER, Kind
from tests.hf import checkpoints
from tests.tiny import save_tiny_llama
from tests.tiny_generators import save_tiny_chat, save_tiny_t5

ROOT = Path(__file__).parents[2]


def make_llms() -> None:
    """The LLMs, random but for those that write, which learn to answer."""
    save_tiny_llama(Path(LLAMA))
    tags = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
    checkpoints.save(Path(BERT), "wordpiece", tags)
    teach(save_tiny_chat(Path(CHAT)))
    teach(save_tiny_t5(Path(T5)))


def teach(folder: Path, steps: int = 60) -> None:
    """Train a model that writes until it nearly knows the annotation of the texts."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    fix_random_seed(0)
    kind = KINDS["prompted_full"]
    config = {**kind.components["llm2ner_prompted"], "shuffle_labels": False}
    config["model"] = {**config["model"], "name": str(folder)}
    nlp = kinds.blank(Kind({"llm2ner_prompted": config}, kind.gold))
    data = kinds.examples(nlp, kind)
    nlp.initialize(lambda: data)
    instances = nlp.get_pipe("llm2ner_prompted").instances(data, choose=False)  # type: ignore[attr-defined]
    is_pair = AutoConfig.from_pretrained(folder).is_encoder_decoder
    loader: Any = AutoModelForSeq2SeqLM if is_pair else AutoModelForCausalLM
    model = loader.from_pretrained(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for instance in instances:
            if is_pair:
                ids, labels = instance.prompt, instance.target
            else:
                ids = [*instance.prompt, *instance.target]
                labels = [*[-100] * len(instance.prompt), *instance.target]
            loss = model(torch.tensor([ids]), labels=torch.tensor([labels])).loss
            (loss / len(instances)).backward()
            total += float(loss) / len(instances)
        optimizer.step()
    print(f"{folder}: loss {total:.3f} after {steps} steps")
    model.save_pretrained(folder)


def make_heads() -> None:
    """A published ToMMeR head, and a shelf of shipped heads with one for the tiny LLM."""
    from spacy_llm2ner.interop.tommer import save_tommer
    from spacy_llm2ner.pipeline.pretrained_head import save_pretrained_head

    kind = KINDS["tommer"]
    nlp = kinds.blank(kind)
    kinds.train(nlp, kind, 60)
    save_tommer(nlp, TOMMER, label="PER")
    kind = KINDS["span"]
    nlp = kinds.blank(kind)
    kinds.train(nlp, kind, 30)
    pipe: Any = nlp.get_pipe("llm2ner")
    head = dict(kind.components["llm2ner"]["model"]["head"])
    save_pretrained_head(Path(SHELF) / "tiny", pipe.model, head, list(pipe.labels))


@contextlib.contextmanager
def shelf() -> Iterator[None]:
    """The package's folder of shipped heads is that of the gate."""
    with pytest.MonkeyPatch.context() as patch:
        for holder in kinds.shelf_holders():
            patch.setattr(holder, "FOLDER", Path(SHELF).resolve())
        yield


def make_pipeline(kind: Kind) -> Language:
    """A trained pipeline of a kind, as it is saved."""
    nlp = kinds.blank(kind)
    if kind.members > 1:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for seed in range(kind.members):
                nlp = kinds.blank(kind)
                kinds.train(nlp, kind, kind.steps or 0, seed=seed)
                nlp.to_disk(Path(folder) / str(seed))
                paths.append(str(Path(folder) / str(seed)))
            joined = str(Path(folder) / "joined")
            command = [sys.executable, "-m", "spacy", "llm2ner", "ensemble", joined, *paths]
            subprocess.run(command, check=True)
            return spacy.load(joined)
    if kind.steps is not None:
        losses = kinds.train(nlp, kind, kind.steps)
        print("  losses:", *(f"{loss:.3f}" for loss in (losses[:1] + losses[-1:])))
    if kind.calibrate:
        data = kinds.examples(nlp, kind)
        make = registry.callbacks.get("spacy_llm2ner.calibrate.v1")
        nlp = make(dev=lambda _: data, folds=0, per_label=True)(nlp)
    return nlp


def save(name: str, kind: Kind) -> None:
    """Write one kind: the pipeline, what it finds, and what it learns."""
    print(name)
    folder = Path(name)
    nlp = make_pipeline(kind)
    folder.mkdir()
    if not kind.default_llm:
        nlp.to_disk(folder / "pipeline")
        # The same for all, and kept once.
        shutil.rmtree(folder / "pipeline" / "vocab")
        (folder / "pipeline" / "tokenizer").unlink()
    with tempfile.TemporaryDirectory() as where:
        nlp = kinds.load(name, Path(where))
        record: dict[str, Any] = {"bytes": kinds.stored_bytes(nlp)}
        fix_random_seed(0)
        found, outputs = kinds.predict(nlp, kind)
        write_json(folder / "predictions.json", found)
        if outputs:
            np.savez_compressed(folder / "outputs.npz", **outputs)
        record["bytes_after_use"] = kinds.stored_bytes(nlp)
        if kind.trains:
            record["training"] = kinds.learnt(
                kinds.load(name, Path(where)), kind, kinds.fresh(name)
            )
        write_json(folder / "record.json", record)
    n_ents = sum(len(doc["ents"]) for doc in found)
    n_spans = sum(len(group) for doc in found for group in doc.get("spans", {}).values())
    print(f"  {n_ents} entities, {n_spans} spans", flush=True)


def write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=None, sort_keys=True)
    # A line for each text, so that a difference can be read.
    if isinstance(content, list):
        lines = (json.dumps(part, ensure_ascii=False, sort_keys=True) for part in content)
        text = "[\n" + ",\n".join(lines) + "\n]"
    path.write_text(text + "\n", encoding="utf8")


def renew_losses(name: str) -> None:
    """Replace the losses of a kind's training in its record."""
    path = Path(name) / "record.json"
    record = json.loads(path.read_text(encoding="utf8"))
    with tempfile.TemporaryDirectory() as where:
        nlp = kinds.load(name, Path(where))
        record["training"] = kinds.learnt(nlp, KINDS[name], kinds.fresh(name))
    write_json(path, record)


def make_store() -> None:
    """What a store on disk holds after three texts."""
    folder = Path("store")
    with tempfile.TemporaryDirectory() as where:
        nlp = kinds.with_store(folder, Path(where))
        list(nlp.pipe(kinds.TEXTS[1:7]))
        llm = kinds.llm_of(nlp)
        llm.store.close()
    (folder / "lock.mdb").unlink(missing_ok=True)
    content = {"fingerprint": llm.fingerprint, "entries": kinds.entries(folder)}
    write_json(Path("store.json"), content)


def main() -> None:
    """Make what is not there yet."""
    torch.set_num_threads(1)
    SAVED.mkdir(exist_ok=True)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.chdir(SAVED)
    if sys.argv[1:2] == ["--losses"]:
        with shelf():
            for name in sys.argv[2:]:
                renew_losses(name)
        return
    if not Path("llms").exists():
        make_llms()
    if not Path("blank").exists():
        spacy.blank("en").to_disk("blank")
    if not Path("heads").exists():
        make_heads()
    with shelf():
        for name, kind in KINDS.items():
            if not kind.default_llm and not Path(name).exists():
                save(name, kind)
        if not Path("store").exists():
            make_store()
    for name, kind in KINDS.items():
        if kind.default_llm and not Path(name).exists():
            save(name, kind)


if __name__ == "__main__":
    main()
