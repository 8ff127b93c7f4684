"""What a tagging component has beside its head: its tags, its labels, and what it reports."""

from __future__ import annotations

from spacy.errors import Errors

from ..architectures.shims import HeadShim
from ..decoding.tags import DECODINGS
from ..tags import PREFIXES, TAGGER_SCHEMES, TagSet
from .entity_pipe import EntityPipe
from .gold import Gold
from .tag_gold import unsayable


class TagPipe(EntityPipe):
    """A component that tags words.

    Its model says how by attributes: "scheme", the tag scheme; and, if it is a checkpoint that
    brings its own tags, "tags" and "load_tags".
    """

    decodings = DECODINGS
    default_threshold = 0.0  # what a sequence of tags says is an entity, be it probable or not
    _main_annotation = "ents"
    _unknown_threshold_code = "L2N-W24"
    _misaligned_code = "L2N-W20"
    _score_weights_code = "L2N-W23"

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
            prefixes = PREFIXES[TAGGER_SCHEMES[self.scheme]]
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
        tag_set = self.tag_set
        overlapping = sum(unsayable(gold, tag_set) for gold in golds) if total else 0
        self._report_misaligned(golds)
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
