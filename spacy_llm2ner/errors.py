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

    # E4xx tommer, hf

    # E5xx few_shot, prompted
    E500 = (
        "llm2ner_prompted: the setting 'model.name' is not set, and there is no default. Give the "
        "hub id, the folder or the GGUF file of an LLM that was trained to follow instructions, "
        "e.g. nlp.add_pipe('llm2ner_prompted', config={{'model': {{'name': "
        "'dyyyyyyyy/GNER-T5-large'}}, 'labels': ['person', 'city']}})."
    )
    E501 = (
        "{name}: the setting 'words' names the label '{label}', but the setting 'labels' has "
        "{labels}. Add it there, with an empty list if it has no names."
    )
    E502 = (
        "{name}: the setting '{setting}' is {strings}; names or words are expected, none of them "
        "empty or with whitespace around it."
    )
    E503 = (
        "{name}: a label is empty, in the setting 'labels' or in the annotation. Every label "
        "needs a name."
    )
    E504 = (
        "{name}: the label '{label}' has neither annotated texts nor names in the setting "
        "'labels' nor words in the setting 'words'. Give some, e.g. 'words': {{'{label}': "
        "['person']}}."
    )
    E505 = (
        "{name}: there are no labels. Give them with a few names each by the setting 'labels', "
        "e.g. nlp.add_pipe('llm2ner_fewshot', config={{'labels': {{'PER': ['John Smith'], 'LOC': "
        "['Paris']}}}}), or by nlp.initialize() with annotated examples."
    )
    E506 = "llm2ner_fewshot: class {index} of {n_classes} has no example."
    E510 = (
        "{name}: the setting 'label_names' gives several labels the name '{twice}'. Each label "
        "needs a name of its own."
    )
    E511 = (
        "{name}: there are no labels to ask for. Give them by the setting 'labels', e.g. "
        "nlp.add_pipe('llm2ner_prompted', config={{'labels': ['person', 'city']}}), or by "
        "nlp.initialize() with training examples."
    )
    E512 = (
        "llm2ner_prompted: the LLM in {folder} has room for {most} pieces, but the prompt with "
        "{labels} labels and one word needs {needed}. Give fewer labels, shorter descriptions, or "
        "another LLM."
    )

    # E6xx calibration, distillation

    # E7xx corpora
    E700 = (
        "{reader}: the setting 'sentences_per_doc' is {value}: expected 1 for a Doc per sentence, "
        "n for up to n sentences per Doc, or 0 for a Doc per document."
    )
    E701 = (
        "{reader}: the setting 'path' (corpora.train.path or corpora.dev.path) is not set: "
        "expected a CoNLL-style file. Set it in the config or, where the config takes it from "
        "[paths], by --paths.train FILE and --paths.dev FILE."
    )
    E702 = (
        "{reader}: the setting 'path' (corpora.train.path or corpora.dev.path) is '{path}', which "
        "{fault}: expected a CoNLL-style file."
    )
    E703 = "data path {path}: there is no such file or folder."
    E704 = "data path {path}: the folder has no .spacy file, and is no dataset saved by `datasets`."
    E705 = (
        "{reader}: the setting 'path' is '{path}', which is no file: expected a file with a JSON "
        "object per line."
    )
    E706 = (
        "{path}:{line}: expected an object with 'tokens' and 'spans' or 'tags', or with "
        "'tokenized_text' and 'ner' ({problem})."
    )
    E707 = "{reader}: the setting 'limit' is {limit}: expected a number of Docs, or 0 for all."
    E710 = (
        "{source}, line {line}: byte {byte} found, which is not UTF-8: expected a file in UTF-8 "
        "(convert it with: iconv -t UTF-8)."
    )
    E711 = "{source}: no sentence found, expected lines of at least 2 columns (word ... tag)."
    E712 = "{source}, line {line}: {found}, {expected} expected as in line {first}."
    E713 = "{source}, line {line}: {found}, at least 2 expected (word ... tag)."
    E714 = (
        "{source}, line {line}: {found}, so that {setting} = {column} does not exist: expected "
        "{least} to {most}."
    )
    E715 = (
        "{source}, line {line}: {found}, and word_column = {word_column} is the same column as "
        "tag_column = {tag_column}: expected two different ones."
    )
    E716 = "{source}, line {line}: column {column}: {problem}{hint}"
    E720 = (
        "{reader}: the setting 'path' is not set: expected a folder, a file, or the name of a "
        "dataset on the hub."
    )
    E721 = "{source}: no sentence found, expected rows of words."
    E722 = "{reader}: the dataset path = '{path}' cannot be opened: {problem}"
    E723 = (
        "{reader}: the setting 'split' is '{split}', but '{path}' has {splits}: expected one of "
        "these."
    )
    E724 = (
        "{reader}: the setting '{setting}' is '{column}', but {source} has the columns {columns}."
    )
    E725 = (
        "{reader}: the setting '{setting}' is not set, and {source} has none of the columns "
        "{usual} but {columns}."
    )
    E726 = "{source}, row {row}: expected a list of words and a list of tags."
    E727 = "{source}, row {row}: {words} words, {tags} tags: expected one tag per word."
    E728 = "{source}, row {row}: {problem}"
    E729 = (
        "{source}, row {row}: the tag {tag} is a number, and the dataset does not name its tags: "
        "expected the setting 'labels', the tags in order or a JSON file of tag -> number."
    )
    E730 = "{source}, row {row}: the tag {tag} is none of the {labels} labels."
    E731 = (
        "{reader}: the setting 'labels' is '{path}', expected a JSON file of tags, or of tag -> "
        "number ({problem})."
    )
    E732 = (
        "{reader}: the setting 'labels' is {labels}: expected the tags in order, or tag -> number "
        "from 0."
    )

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

    # E9xx cli
    E910 = "output path {path}: expected a folder, but this is a file."
    E911 = (
        "{model} is not a folder that can be rewritten: give the folder for the calibrated "
        "pipeline by --output."
    )
    E912 = "two or more pipelines are needed, but {given} is given."
    E920 = "{path} already exists; --force overwrites it."
    E922 = (
        "data path {path}: there is no such file or folder. To read a dataset on the hub, write a "
        "block with spacy_llm2ner.HFDatasetCorpus.v1 to the config."
    )
    E923 = (
        "data path {path}: there are no .spacy files in this folder. To convert the files of a "
        "dataset, run `python -m spacy llm2ner convert`."
    )
    E924 = "data path {path}: cannot be read as .spacy data ({problem})."
    E925 = "data path {path}: there are no texts in it."
    E926 = "the config has no setting {settings}."
    E940 = "output path {path}: expected a file with the suffix {suffix}."
    E941 = (
        "{path} is read as a CoNLL-style file, but {settings} can be set for a dataset only: "
        "expected a folder, or a .parquet or .json file."
    )


class Warnings(metaclass=_WithCodes):
    """Texts of warnings; `spacy.errors.filter_warning` can silence one by its code."""

    # W0x the span recogniser and what it shares with other components
    W03 = (
        "llm2ner: the LLM '{name}' is read with other settings than those that the head was "
        "trained with, or is another copy of it ({differences}). Its scores may move a little."
    )

    # W2x token taggers

    # W3x few-shot recognition

    # W4x prompted recognition
