"""The callback that calibrates each stored checkpoint."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Iterable

from spacy.language import Language
from spacy.training import Example
from spacy.util import resolve_dot_names

from ..corpora.reader import open_corpus
from ..errors import Errors
from ..log import logger
from ..pipeline.base import EntityPipe
from .calibrate import Calibration, CalibrationSettings, calibrate_pipe, calibrated_view
from .dev_scores import with_states
from .threshold_search import FOLDS, Objective, prf

DevData = Callable[[Language], Iterable[Example]]


def make_calibrate_callback(
    dev: DevData | str | None = None,
    component: str | None = None,
    objective: str = "f1",
    per_label: bool | None = None,
    temperature: bool = True,
    folds: int = FOLDS,
) -> Callable[[Language], Language]:
    """Calibrate every stored checkpoint (`spacy_llm2ner.calibrate.v1`).

    A callback for [training.before_to_disk]. Each checkpoint is stored with its own temperatures
    and thresholds; training and the choice of the best checkpoint use the thresholds of the config.
    The store has the states of the dev texts from the evaluation: the LLM does not read them again.
    A checkpoint that misses the demand of `objective` on held-out texts is stored as it is, with a
    line in the log.

    dev (Optional[Union[Callable, str]]): A corpus reader, such as ${corpora.dev}, or a path to a
        .spacy file, a folder of them, a .jsonl or a CoNLL-style file. null: the `dev_corpus` of
        [training].
    component (Optional[str]): The component's name. null: all components llm2ner and llm2ner_tagger
        that are not frozen.
    objective (str): "f1", "recall@P" or "precision@R".
    per_label (Optional[bool]): Thresholds per label (true) or one for all (false). null: the best
        choice on held-out texts, which may be the current thresholds.
    temperature (bool): Whether to fit temperatures too.
    folds (int): Folds of the cross-validation for `per_label = null`; with 0, null means true.
    RETURNS (Callable[[Language], Language]): nlp -> the pipeline to store, a shallow copy.
    RAISES (ValueError): For an unknown objective.
    RAISES (FileNotFoundError): For missing data.
    """
    settings = CalibrationSettings(
        objective=Objective.parse(objective),
        per_label=per_label,
        temperature=temperature,
        folds=folds,
    )
    reader = open_corpus(dev) if isinstance(dev, str) else dev
    opened: list[DevData] = [] if reader is None else [reader]

    def calibrate_before_to_disk(nlp: Language) -> Language:
        if not opened:
            opened.append(_dev_corpus_of(nlp))
        found = []
        for pipe in _components(nlp, component):
            calibration = calibrate_pipe(pipe, with_states(nlp, pipe, opened[0](nlp)), settings)
            if calibration.unmet:
                logger.warning("%s: not calibrated: %s", calibration.name, calibration.unmet)
            else:
                logger.info("%s", one_line(calibration))
                found.append(calibration)
        return calibrated_view(nlp, found)

    return calibrate_before_to_disk


def _dev_corpus_of(nlp: Language) -> DevData:
    config = nlp.config.interpolate()
    (corpus,) = resolve_dot_names(config, [config["training"]["dev_corpus"]])
    return corpus


def _components(nlp: Language, name: str | None) -> list[EntityPipe]:
    frozen = nlp.config["training"].get("frozen_components", [])
    found = {n: pipe for n, pipe in nlp.components if isinstance(pipe, EntityPipe)}
    if name is None:
        return [pipe for n, pipe in found.items() if n not in frozen]
    if name not in found:
        raise ValueError(Errors.E603.format(component=name, accepted=", ".join(found) or "none"))
    return [found[name]]


def one_line(calibration: Calibration) -> str:
    """One line about a calibration for the log."""
    before, after = prf(calibration.before), prf(calibration.after)
    return (
        f"{calibration.name}: calibrated for {calibration.settings.objective} on "
        f"{calibration.n_texts} dev texts, threshold {calibration.threshold}, temperature "
        f"{calibration.temperature}: F {100 * before[2]:.2f} -> {100 * after[2]:.2f}, calibration "
        f"error {100 * calibration.reliability_before.error:.2f} -> "
        f"{100 * calibration.reliability_after.error:.2f}"
    )
