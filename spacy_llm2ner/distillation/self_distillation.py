"""Self-distillation: a fresh student learns from gold and from what its teacher is sure of."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats3d

from ..architectures.shims import HeadShim
from ..log import logger
from ..numeric import sigmoid


@dataclass
class Teacher:
    """What a student learns from, beside gold.

    model (Model): The teacher; it shares the LLM, and what the LLM has read.
    threshold (float): Spans of a higher probability become positive.
    """

    model: Model[list[Doc], list[Floats3d]]
    threshold: float

    def __call__(self, docs: list[Doc], targets: list[Floats3d]) -> list[Floats3d]:
        """Set the targets of the spans that the teacher is sure of to 1.

        docs (List[Doc]): The batch.
        targets (List[Floats3d]): Its gold, float32 (tokens, width, labels).
        RETURNS (List[Floats3d]): New targets of the same shapes.
        """
        together = []
        for band, target in zip(self.model.predict(docs), targets, strict=True):
            xp = self.model.ops.xp
            sure = (sigmoid(band) > self.threshold).astype(target.dtype)
            together.append(xp.maximum(target, sure))
        return together


def make_self_distillation(
    component: str = "llm2ner", epoch: int = 8, threshold: float = 0.9
) -> Callable[[Language, dict[str, Any]], None]:
    """Self-distillation as a callback (`spacy_llm2ner.SelfDistillation.v1`).

    To be given as [training.before_update]. When the epoch begins, what the component has learnt
    becomes its teacher, its head starts anew, and from then on a span is positive if it is gold or
    if the teacher gives it a higher probability than `threshold`. Let [training.max_epochs] be
    about twice `epoch`. Each teacher and each student learns from the same texts: the LLM does not
    read them again.

    component (str): The component's name in the pipeline.
    epoch (int): The first epoch of the student, counted from 0.
    threshold (float): From which probability on the teacher is believed.
    RETURNS (Callable): A callback for [training.before_update].
    RAISES: ValueError for a setting out of range.
    """
    if epoch < 1 or not 0 < threshold < 1:
        raise ValueError(
            f"llm2ner: SelfDistillation.v1 has epoch = {epoch} and threshold = {threshold}; an "
            f"epoch from 1 and a probability between 0 and 1 are expected."
        )
    return SelfDistillation(component, epoch, threshold)


@dataclass
class SelfDistillation:
    """The callback; see `make_self_distillation`."""

    component: str
    epoch: int
    threshold: float
    done: bool = False

    def __call__(self, nlp: Language, state: dict[str, Any]) -> None:
        """Make the teacher, once, when its epoch has come.

        nlp (Language): The pipeline.
        state (Dict[str, Any]): {"step": ..., "epoch": ...}, as spaCy gives it.
        RAISES: ValueError if there is no such component, or it cannot have a teacher.
        """
        if self.done or state["epoch"] < self.epoch:
            return
        pipe: Any = nlp.get_pipe(self.component) if self.component in nlp.pipe_names else None
        if not hasattr(pipe, "target_hooks"):
            raise ValueError(
                f"llm2ner: SelfDistillation.v1 names the component '{self.component}', which is "
                f"no 'llm2ner' component of the pipeline ({', '.join(nlp.pipe_names)})."
            )
        self.done = True
        pipe.target_hooks = [Teacher(pipe.model.copy(), self.threshold)]
        for node in pipe.model.walk():
            for shim in node.shims:
                if isinstance(shim, HeadShim):
                    start_anew(shim)
        logger.info(
            "%s: epoch %d: the head starts anew, with its former self as teacher (p > %s)",
            *(self.component, state["epoch"], self.threshold),
        )


def start_anew(shim: HeadShim) -> None:
    """Give a head fresh weights; the statistics of the states stay, they are no weights."""
    statistics = {name: value.clone() for name, value in shim.module.named_buffers()}
    shim.construct(shim.sizes)
    for name, value in shim.module.named_buffers():
        value.copy_(statistics[name])
