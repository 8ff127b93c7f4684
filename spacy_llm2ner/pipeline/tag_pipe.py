"""What a tagging component has beside its head: its tags, its labels, and what it reports."""

from __future__ import annotations

from spacy.errors import Errors
from spacy.language import Language

from ..heads.tag_scheme import SCHEMES, TagSet
from ..shims import HeadShim
from .gold import Gold
from .llm_pipe import LLMPipe
from .scorer import score_span_recognizer, unscored_weights
from .tag_gold import unsayable


class TagPipe(LLMPipe):
    """A component that tags words.

    Its model says how by attributes: "scheme", the tag scheme; and, if it is a checkpoint that
    brings its own tags, "tags" and "load_tags".
    """

    @property
    def key(self) -> str:
        """The key of `doc.spans` that is written, and read in training."""
        return str(self.cfg["spans_key"])

    # Tags -------------------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """The tag scheme of the head, "BIO" or "BILOU"."""
        return str(self.model.attrs.get("scheme", "BIO"))

    @property
    def tag_set(self) -> TagSet:
        """The tags, in the order of the model's output: a checkpoint's own, or the labels'."""
        own = self.model.attrs.get("tags")
        return TagSet(tuple(own)) if own else TagSet.of_labels(self.labels, self.scheme)

    def set_output(self, nO: int) -> None:
        """Let the model grow to the component's labels.

        nO (int): The number of labels.
        """
        own = self.model.attrs.get("tags")
        if own:
            known = self.tag_set.labels
            new = [label for label in self.labels if label not in known]
            prefixes = SCHEMES[self.scheme]
            own = [*own, *(f"{prefix}-{label}" for label in new for prefix in prefixes)]
            self.model.attrs["tags"] = own
            nO = len(own)
        super().set_output(nO)

    def _adopt_tags(self) -> None:
        """Take over the labels of a checkpoint that brings its own, and report odd ones."""
        load = self.model.attrs.get("load_tags")
        if load is None:
            return
        load(self.model)
        tag_set = self.tag_set
        for label in tag_set.labels:
            if label not in self.cfg["labels"]:
                self.cfg["labels"].append(label)
                self.vocab.strings.add(label)
        if tag_set.odd:
            self._warn(
                "L2N-W26",
                f"the checkpoint's tags {', '.join(tag_set.odd)} have no prefix such as B- or I-. "
                f"Each is read as I- of a label of its own name, as transformers does: "
                f"neighbouring words with one such tag are one entity.",
            )
        elif tag_set.without_begin:
            self._warn(
                "L2N-W26",
                f"the checkpoint has no B- tags for {', '.join(tag_set.without_begin)}: as in "
                f"conlleval, entities of these labels that touch are read as one.",
            )

    def _require_head(self) -> None:
        super()._require_head()
        if self.model.attrs.get("tags") == []:
            raise ValueError(Errors.E109.format(name=self.name))

    def _report_lost(self, golds: list[Gold]) -> None:
        """Count what cannot be learnt from: once, at the start, and never silently."""
        total = sum(len(gold.spans) + gold.lost for gold in golds)
        lost = sum(gold.lost for gold in golds)
        tag_set = self.tag_set
        overlapping = sum(unsayable(gold, tag_set) for gold in golds) if total else 0
        if lost:
            self._warn(
                "L2N-W20",
                f"{lost} of {total} gold spans of the training data do not begin and end where "
                f"tokens of the pipeline's tokenizer do, or do so with white space, and cannot be "
                f"learnt.",
            )
        if overlapping:
            self._warn(
                "L2N-W21",
                f"{overlapping} of {total} gold spans of the training data overlap another one, or "
                f"cannot be said by the tags {', '.join(tag_set.tags[:7])} ..., and cannot be "
                f"learnt: of overlapping spans the first and longest one counts. For overlapping "
                f"spans there is the component 'llm2ner'.",
            )

    def _report_untrained_crf(self, loss: object) -> None:
        """Say so if a CRF decides what nothing has taught it."""
        has_crf = any(shim.module.crf is not None for shim in self._shims(HeadShim))
        if has_crf and getattr(loss, "crf", None) == 0:
            self._warn(
                "L2N-W25",
                "the head has a CRF, but the setting 'crf' of the loss is 0: its transitions are "
                "never trained, and only forbid what the tag scheme forbids. Set 'crf' above 0, or "
                "take the head spacy_llm2ner.LinearTagger.v1.",
            )

    def _report_score_weights(self, nlp: Language | None) -> None:
        """Say so before the training if no checkpoint will ever look better than another."""
        if nlp is None or self.scorer is not score_span_recognizer:
            return
        weights = unscored_weights(nlp, self.name, annotate=self.cfg["annotate"], key=self.key)
        if weights:
            own = f"spans_{self.key}_f" if self.cfg["annotate"] == "spans" else "ents_f"
            self._warn(
                "L2N-W23",
                f"no component gives a score that [training.score_weights] counts "
                f"({', '.join(weights)}), so that every checkpoint looks as good as any other. "
                f"With annotate = '{self.cfg['annotate']}' and spans_key = '{self.key}', add "
                f"{own} = 1.0 there.",
            )

    def _require_known_labels(self, golds: list[Gold]) -> None:
        found = {label for gold in golds for _, _, label in gold.spans}
        unknown = sorted(found.difference(self.labels))
        if unknown:
            raise ValueError(
                f"{self.name}: the training data has spans labelled {', '.join(unknown)}, but the "
                f"component's labels are {', '.join(self.labels)}. Add labels with add_label, or "
                f"give all of them in [initialize.components.{self.name}.labels] (made by "
                f"`spacy init labels`)."
            )
