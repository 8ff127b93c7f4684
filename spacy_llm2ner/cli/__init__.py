"""`python -m spacy llm2ner ...`: one file per command.

spaCy imports this module on every run of its command line, so it imports nothing heavy.
"""

from spacy.cli._util import app
from typer import Typer

from .adapt import adapt, suggest_names
from .annotate import annotate
from .bundle import bundle
from .calibrate import calibrate
from .card import card
from .convert import convert
from .debug_data import debug_data
from .ensemble import ensemble
from .evaluate import evaluate
from .explain import explain
from .import_hf import import_hf
from .init_config import init_config
from .inspect import inspect
from .serve import serve
from .store import store
from .sweep_layers import sweep_layers
from .visualize import visualize


def _old_names(**names: str) -> dict[str, object]:
    """Context settings that accept former names of options, which `--help` does not list.

    names (str): Former name -> name, without dashes and with "_" for "-". A short name stands for
        another short name only.
    """
    known = {old.replace("_", "-"): new.replace("_", "-") for old, new in names.items()}
    return {"token_normalize_func": lambda name: known.get(name, name)}


llm2ner_app = Typer(
    name="llm2ner",
    help="Named entities from the hidden states of a frozen LLM.",
    no_args_is_help=True,
)
# In the order of a workflow, which `--help` and docs/cli.md keep.
llm2ner_app.command("convert")(convert)
llm2ner_app.command("inspect")(inspect)
llm2ner_app.command("init-config")(init_config)
llm2ner_app.command("import-hf")(import_hf)
llm2ner_app.command(
    "debug-data",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(debug_data)
llm2ner_app.command(
    "sweep-layers",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(sweep_layers)
llm2ner_app.command("suggest-names")(suggest_names)
llm2ner_app.command("adapt")(adapt)
llm2ner_app.command("ensemble")(ensemble)
llm2ner_app.command("calibrate", context_settings=_old_names(use_gpu="gpu_id"))(calibrate)
llm2ner_app.command("evaluate")(evaluate)
llm2ner_app.command("visualize", context_settings=_old_names(use_gpu="gpu_id"))(visualize)
llm2ner_app.command("explain", context_settings=_old_names(c="p"))(explain)
llm2ner_app.command("annotate")(annotate)
llm2ner_app.command("serve")(serve)
llm2ner_app.command("bundle")(bundle)
llm2ner_app.command("card")(card)
llm2ner_app.command("store")(store)
app.add_typer(llm2ner_app)
