"""Catalogue of errors and warnings: each text that a user may read, under its code.

As in `spacy.errors`, a text is a template that the place of the error fills in:

    raise ValueError(Errors.E101.format(folder=folder))
    warnings.warn(Warnings.W05.format(name=self.name, lost=3, total=9))

and what the user reads begins with the code: "[L2N-E101] ...". A text names the component, the
setting, the value that was given and the values that are accepted. Codes are never reused; codes of
errors go by folder:

    E0xx settings of any kind
    E1xx llm                 E4xx tommer, hf            E7xx corpora
    E2xx heads, decoding,    E5xx few_shot, prompted    E8xx reports, hub
         losses, tags        E6xx calibration,          E9xx cli
    E3xx architectures,           distillation
         pipeline

The warnings are described in docs/warnings.md.
"""

from __future__ import annotations

_PREFIX = "L2N-"


class _WithCodes(type):
    """Metaclass that puts its code before each text."""

    def __getattribute__(cls, name: str) -> str:
        text = super().__getattribute__(name)
        return text if name.startswith("_") else f"[{_PREFIX}{name}] {text}"


class Errors(metaclass=_WithCodes):
    """Texts of errors."""

    # E0xx settings of any kind
    E001 = "{component}: the setting {setting} is {value}; accepted are {accepted}."
    E002 = "{component}: the setting {setting} is {value}; it must be a number {bounds}."

    # E1xx llm

    # E2xx heads, decoding, losses, tags
    E201 = "'{tag}' is not a tag: expected O, or B-, I-, E-, S-, L- or U- before a label."
    E202 = "({start}, {end}, '{label}') is not a labelled span of a sentence of {words} words."
    E203 = (
        "({start}, {end}, '{label}') overlaps the span before it, which ends at word {before}: "
        "tags can only express disjoint spans."
    )
    E204 = (
        "Two '{label}' spans touch at word {start}: IO tags cannot tell them apart. Use the "
        "scheme BIO2."
    )
    E205 = "'{scheme}' is not a tag scheme; accepted are {accepted}."
    E206 = (
        "llm2ner: the tags {tags} lack 'O' for words outside entities; such tags cannot be "
        "trained on entities."
    )
    E210 = (
        "A band of span scores must have the shape (tokens, width, labels), with one threshold "
        "per label; the shape is {shape}, and there are {thresholds} thresholds."
    )
    E211 = "The logits contain NaN; the head that computed them has diverged."
    E212 = (
        "The spans have label indices {low} to {high}, but there are {thresholds} thresholds; one "
        "per label is needed."
    )
    E213 = "A span without tokens (start >= end) cannot be flattened."
    E214 = "The thresholds are {thresholds}; one number in [0, 1] per label is needed."
    E220 = (
        "llm2ner: the settings 'cross_entropy' and 'crf' of the loss are both 0, so that nothing "
        "is learnt. Give at least one of them a weight."
    )
    E221 = (
        "llm2ner: the setting 'crf' of the loss is {crf}, but the head has no CRF. Set it to 0 or "
        "null, or use the head spacy_llm2ner.CRFTagger.v1."
    )

    # E3xx architectures, pipeline
    E300 = (
        "llm2ner: the head has no weights yet. Call nlp.initialize() with training examples, or "
        "load a trained pipeline."
    )
    E301 = (
        "llm2ner: the head has {name} = {before}, which cannot shrink to {size}: initialise it "
        "anew."
    )
    E302 = (
        "llm2ner: the setting 'max_span_tokens' of the head is {setting}, but the stored head was "
        "trained with {width}. Give {width}, or null to take the head as it is; a head for other "
        "spans must be trained anew."
    )
    E303 = (
        "llm2ner: the head was trained on the states of another LLM than the one configured as "
        "model.llm.name = '{name}' ({differences}). Its scores would mean nothing. Give the LLM "
        "that it was trained with, or train anew."
    )
    E304 = (
        "llm2ner: the stored weights were trained on another LLM than the one that is configured, "
        "or on another way of reading it ({differences}). Give the LLM that they were trained "
        "with, or train anew."
    )
    E310 = (
        "{name}: the training data has spans labelled {unknown}, but the component's labels are "
        "{labels}. Add labels with add_label, or give all of them in "
        "[initialize.components.{name}.labels] (made by `spacy init labels`)."
    )
    E311 = (
        "{name}: the stored component has no labels: its file 'cfg' is missing or damaged. Store "
        "the pipeline again, or load it with exclude=['cfg'] to keep the labels as they are."
    )
    E312 = (
        "{name}: the setting 'threshold' is {threshold}; probabilities from 0 to 1 are expected, "
        "one for all labels or one per label."
    )
    E313 = (
        "{name}: the temperature is {temperature}; numbers above 0 are expected, one for all "
        "labels or one per label."
    )
    E314 = (
        "{name}: the setting 'pretrained' is '{pretrained}'; the heads that come with the package "
        "are {shipped}."
    )
    E315 = (
        "{name}: the setting 'pretrained' brings its own head, for which the model must be "
        "spacy_llm2ner.SpanRecognizer.v1, not '{model}'."
    )
    E316 = (
        "a pipeline with {pipes} has no component '{name}' with the head {head}, the only one "
        "that can be joined"
    )
    E317 = (
        "the {part} of '{name}' is {value} in the first pipeline, but {other} in pipeline "
        "{number}; only heads that were trained alike can be joined"
    )

    # E4xx tommer, hf
    E490 = (
        "llm2ner: save_tommer needs the LLM's name, the layer and a label from 0 to {last}; given "
        "are llm_name = {llm_name}, layer = {layer}, label = {label}."
    )

    # E5xx few_shot, prompted
    E500 = (
        "llm2ner_prompted: the setting 'model.name' is not set, and there is no default. Give the "
        "hub id, the folder or the GGUF file of an LLM that was trained to follow instructions, "
        "e.g. nlp.add_pipe('llm2ner_prompted', config={{'model': {{'name': "
        "'dyyyyyyyy/GNER-T5-large'}}, 'labels': ['person', 'city']}})."
    )
    E560 = (
        "llm2ner: the mean of F1 needs one metric and at least one corpus; given are {corpora} "
        "corpora under {metrics}."
    )
    E561 = (
        "llm2ner: '{name}' cannot be the name of a label in a prompt: a name must not be empty, "
        "and must not be O, which marks words outside entities."
    )
    E562 = (
        "llm2ner: the label names '{one}' and '{other}' cannot be told apart in a model's answer. "
        "Give one of them another name with the setting 'label_names'."
    )

    # E6xx calibration, distillation
    E600 = (
        "Logits, targets and weights must have one shape, (cells,); their shapes are {logits}, "
        "{targets} and {weights}."
    )
    E601 = (
        "objective '{objective}': accepted are f1, recall@P (the highest recall with precision P) "
        "and precision@R, with P and R above 0 and up to 1, such as recall@0.95."
    )
    E602 = (
        "{name}: a config file cannot hold thresholds for labels named like {labels} (with '=', "
        "':' or a '#' at the start); calibrate with one threshold for all labels (--global)."
    )
    E603 = (
        "spacy_llm2ner.calibrate.v1: the setting 'component' is '{component}'; the components of "
        "the pipeline that can be calibrated are {accepted}."
    )
    E604 = "{name}: a component of this kind cannot be calibrated."
    E605 = (
        "{name}: the dev data has no annotated text; entities are looked for in "
        "doc.spans['{key}'] and in doc.ents."
    )

    # E7xx corpora

    # E8xx reports, hub
    E801 = (
        "llm2ner: a model card describes components with a head on an LLM, and the pipeline has "
        "none. Its components are: {components}."
    )
    E802 = (
        "llm2ner: '{source}' is a published ToMMeR head, not a pipeline: 'config' and 'exclude' do "
        "not apply to it. Set the head's options with tommer.transfer.load_tommer."
    )
    E803 = (
        "llm2ner: '{name}' is neither a folder with a pipeline, nor an installed pipeline package, "
        "nor a hub id ('org/name')."
    )
    E804 = (
        "llm2ner: the pipeline '{name}' is not a local folder and cannot be fetched from the hub "
        "({error})."
    )

    E805 = "llm2ner: {model} is not a folder; name the file to write the card to (OUT)."
    E806 = (
        "llm2ner: {metrics} contains no scores; a JSON object as `spacy evaluate --output` writes "
        "it is needed."
    )

    # E9xx cli
    E901 = "output path {path}: expected a folder, but this is a file."
    E902 = "data path {path}: there is no such file or folder."
    E903 = "data path {path}: there is no {suffix} file in this folder."
    E904 = (
        "data path {path}: expected a {suffix} file; `python -m spacy convert` and "
        "`python -m spacy llm2ner convert` make them."
    )
    E905 = "data path {path}: cannot be read as {suffix} data ({error})."
    E906 = "the text has {tokens} tokens; a page shows 1 to {most}. Shorten the text."
    E907 = "the pipeline has no '{factory}' component; its components are {components}."
    E908 = "the pipeline has no component '{name}'; its components are {components}."
    E909 = (
        "the scores of the component '{name}' cannot be split into parts; a model "
        "SpanRecognizer.v1 with the head SpanScorer.v1, or ToMMeR.v1, is needed."
    )


class Warnings(metaclass=_WithCodes):
    """Texts of warnings; `spacy.errors.filter_warning` can silence one by its code."""

    # W0x the span recogniser and what it shares with other components
    W01 = (
        "{name}: {long} of {total} gold spans of the training data are longer than the {width} "
        "tokens of max_span_tokens and can be neither learnt nor found (the longest has "
        "{longest}). Raise max_span_tokens of the head."
    )
    W02 = (
        "{name}: {lost} of {total} gold spans of the training data do not begin and end where "
        "tokens of the pipeline's tokenizer do, or do so with white space, and cannot be learnt."
    )
    W03 = (
        "llm2ner: the LLM '{name}' is read with other settings than those that the head was "
        "trained with, or is another copy of it ({differences}). Its scores may move a little."
    )
    W04 = (
        "{name}: no component gives a score that [training.score_weights] counts ({weights}), so "
        "that every checkpoint looks as good as any other. With annotate = '{annotate}' and "
        "spans_key = '{key}', add {own} = 1.0 there."
    )
    W05 = (
        "{name}: {unseen} of {total} gold spans of the training data begin or end with a token "
        "that no piece of the LLM's tokenizer touches, and can be neither learnt nor found."
    )
    W06 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold acts on nothing."
    )
    W08 = "{name}: the schedule does not fit the data: {faults}"
    W11 = (
        "{name}: {unscored} of {total} gold spans of the training data have more pieces of the "
        "LLM's tokenizer than the head's sliding_window allows, or begin or end with a mark that "
        "shares a piece with a word, and can be neither learnt nor found."
    )
    W07 = (
        "{name}: the dev data has spans with labels that the component does not have: {labels}. "
        "They are not counted."
    )

    # W2x token taggers
    W20 = (
        "{name}: {lost} of {total} gold spans of the training data do not begin and end where "
        "tokens of the pipeline's tokenizer do, or do so with white space, and cannot be learnt."
    )
    W21 = (
        "{name}: {lost} of {total} gold spans of the training data overlap another one, or are "
        "expressed by none of the tags {tags} ..., and cannot be learnt: of overlapping spans the "
        "first and longest one counts. For overlapping spans there is the component 'llm2ner'."
    )
    W22 = (
        "{name}: {unseen} of {total} gold spans of the training data begin or end with a token "
        "that no piece of the LLM's tokenizer touches, and can only be learnt without it."
    )
    W23 = (
        "{name}: no component gives a score that [training.score_weights] counts ({weights}), so "
        "that every checkpoint looks as good as any other. With annotate = '{annotate}' and "
        "spans_key = '{key}', add {own} = 1.0 there."
    )
    W24 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold acts on nothing."
    )
    W25 = (
        "{name}: the head has a CRF, but the setting 'crf' of the loss is 0: its transitions are "
        "never trained, and only forbid what the tag scheme forbids. Set 'crf' above 0, or take "
        "the head spacy_llm2ner.LinearTagger.v1."
    )
    W26 = "{name}: {problem}"
    W27 = (
        "{name}: {dropped} entities were left out: they share a token with a more probable "
        "entity, because the pipeline's tokens are longer than the model's words; or they stand "
        "on white space only."
    )

    # W3x few-shot recognition

    # W4x prompted recognition
