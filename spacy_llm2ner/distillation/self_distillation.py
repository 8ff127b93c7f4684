"""Self-distillation: a fresh head learns from gold and from its teacher's confident spans."""

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
from ..errors import Errors
from ..log import logger
from ..numeric import sigmoid
from ..settings import check_number


@dataclass
class Teacher:
    """A target hook that adds the confident spans of a trained model to the gold ones.

    model (Model): The teacher; it shares the LLM and its remembered states.
    threshold (float): Spans of a higher probability become positive.
    """

    model: Model[list[Doc], list[Floats3d]]
    threshold: float

    def __call__(self, docs: list[Doc], targets: list[Floats3d]) -> list[Floats3d]:
        """Set the targets of the teacher's confident spans to 1.

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

    A callback for [training.before_update]. When the epoch begins, the trained component becomes
    the teacher and its head gets fresh weights; from then on a span is positive if it is gold or if
    the teacher gives it a higher probability than `threshold`. Set [training.max_epochs] to about
    twice `epoch`. Teacher and student learn from the same texts: the LLM does not read them again.

    component (str): The component's name in the pipeline.
    epoch (int): The first epoch of the student, counted from 0.
    threshold (float): The probability above which a span of the teacher is positive.
    RETURNS (Callable): A callback for [training.before_update].
    RAISES (ValueError): For a setting out of range.
    """
    check_number("epoch", epoch, least=1, of="SelfDistillation.v1")
    check_number("threshold", threshold, above=0, below=1, of="SelfDistillation.v1")
    return SelfDistillation(component, epoch, threshold)


@dataclass
class SelfDistillation:
    """The callback; see `make_self_distillation`."""

    component: str
    epoch: int
    threshold: float
    done: bool = False

    def __call__(self, nlp: Language, state: dict[str, Any]) -> None:
        """Make the teacher, once, when the epoch begins.

        nlp (Language): The pipeline.
        state (Dict[str, Any]): {"step": ..., "epoch": ...}, as spaCy gives it.
        RAISES (ValueError): If there is no such component, or it cannot have a teacher.
        """
        if self.done or state["epoch"] < self.epoch:
            return
        pipe: Any = nlp.get_pipe(self.component) if self.component in nlp.pipe_names else None
        if not hasattr(pipe, "target_hooks"):
            pipes = ", ".join(nlp.pipe_names)
            raise ValueError(Errors.E650.format(name=self.component, pipes=pipes))
        self.done = True
        pipe.target_hooks = [Teacher(pipe.model.copy(), self.threshold)]
        for node in pipe.model.walk():
            for shim in node.shims:
                if isinstance(shim, HeadShim):
                    start_anew(shim)
        logger.info(
            "%s: epoch %d: the head starts anew, with its former self as teacher (p > %s)",
            self.component,
            state["epoch"],
            self.threshold,
        )


def start_anew(shim: HeadShim) -> None:
    """Give a head fresh weights and keep its buffers, the statistics of the states."""
    statistics = {name: value.clone() for name, value in shim.module.named_buffers()}
    shim.construct(shim.sizes)
    for name, value in shim.module.named_buffers():
        value.copy_(statistics[name])
