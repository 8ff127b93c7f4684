"""Catalogue of errors and warnings: all user-facing texts, by code.

As in `spacy.errors`, a text is a template that the code raising the error fills in:

    raise ValueError(Errors.E101.format(folder=folder))
    warnings.warn(Warnings.W05.format(name=self.name, lost=3, total=9))

and the message begins with the code: "[L2N-E101] ...". A text names the component, the setting, the
given value and the accepted values. Codes are never reused; error codes are grouped by folder:

    E0xx settings of any kind
    E1xx llm                 E4xx tommer, hf            E7xx corpora
    E2xx heads, decoding,    E5xx few_shot, prompted    E8xx reports, hub, annotation,
         losses, tags        E6xx calibration,               serving
    E3xx architectures,           distillation, sweep,
         pipeline                 evaluation           E9xx cli

The warnings are described in docs/warnings.md.
"""

from __future__ import annotations

_PREFIX = "L2N-"


def reason(error: BaseException | str) -> str:
    """The text of an error on one line and without its full stop, to be part of a sentence.

    error (Union[BaseException, str]): An error of another library.
    """
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__


class _WithCodes(type):
    """Metaclass that prefixes each text with its code."""

    def __getattribute__(cls, name: str) -> str:
        text = super().__getattribute__(name)
        return text if name.startswith("_") else f"[{_PREFIX}{name}] {text}"


class Errors(metaclass=_WithCodes):
    """Texts of errors."""

    # E0xx settings of any kind
    E001 = "{component}: the setting {setting} is {value}; accepted are {accepted}."
    E002 = "{component}: the setting {setting} is {value}; it must be {bounds}.{hint}"

    # E1xx llm
    E101 = (
        "llm2ner: the {what} of the LLM in {where} cannot be loaded by transformers {version}: "
        "{error}"
    )
    E102 = (
        "llm2ner: the config.json of the LLM (model type '{model_type}') was written by "
        "transformers 5, and transformers {version} would misread its 'rope_parameters'. Install "
        "transformers>=5."
    )
    E103 = (
        "llm2ner: to read the GGUF file {file}, install the extra 'gguf': "
        "pip install 'spacy-llm2ner[gguf]' (missing: {package})."
    )
    E104 = (
        "llm2ner: the setting 'name' of the LLM is the folder '{folder}', but there is no "
        "config.json in it. A folder made by `save_pretrained` is expected."
    )
    E105 = (
        "llm2ner: the setting 'name' of the LLM is the file '{file}'. Of files, only GGUF files "
        "(.gguf) are accepted; otherwise give a folder or a hub id."
    )
    E106 = (
        "llm2ner: the setting 'name' of the LLM is '{name}', and there is no such folder or file "
        "(working directory: {cwd}). Give a model folder, a GGUF file or a hub id such as "
        "'HuggingFaceTB/SmolLM2-135M-Instruct'; for a trained pipeline: spacy.load(..., "
        "config={{'components.llm2ner.model.llm.name': ...}})."
    )
    E107 = (
        "llm2ner: the LLM '{name}'{revision} is not a local folder or GGUF file, and it could not "
        "be downloaded from the model hub either: {error}. Check the name, log in if the model is "
        "gated, or download it elsewhere and give the folder as 'name'."
    )
    E108 = (
        "llm2ner: the config.json of the LLM in {folder} (model type '{model_type}') has no "
        "'{setting}'. Supported are language models with one sequence of blocks, decoders or "
        "encoders."
    )
    E109 = (
        "llm2ner: the tokenizer of the LLM in {folder} is {tokenizer}, a slow tokenizer without "
        "character offsets. A fast tokenizer (tokenizer.json) is needed."
    )
    E110 = (
        "llm2ner: there are no weights in the LLM's folder {folder} (*.safetensors or *.bin "
        "expected)."
    )
    E111 = (
        "llm2ner: there is no tokenizer in the LLM's folder {folder} (tokenizer.json expected: a "
        "fast tokenizer is needed for character offsets)."
    )
    E112 = "llm2ner: the LLM's folder {folder} lacks weights that its config.json names: {weights}."
    E113 = (
        "llm2ner: the architecture {model} has no list of {depth} blocks to read states from. "
        "Supported are models with one module per layer."
    )
    E114 = (
        "llm2ner: the setting 'device' of the LLM is '{device}': {error}. Accepted are torch "
        "devices of this machine, such as 'cpu' or 'cuda:0', and null."
    )
    E115 = (
        "llm2ner: the architecture {model} of the LLM in {folder} cannot be read: for pieces of "
        "shape {given}, layer {layer} gives {shape}, where (batch, pieces, {width}) is expected."
    )
    E116 = (
        "llm2ner: the setting 'layers' asks for layer {layer}, but the LLM in {folder} has "
        "{blocks} blocks (layers 0 to {blocks})."
    )
    E117 = (
        "llm2ner: the setting 'layers' of the LLM is {layers}; a list of layers is expected "
        "(0 = embeddings, k = output of block k - 1), or null."
    )
    E118 = (
        "llm2ner: the LLM {name} has {limit} positions, too few for a single piece of text with "
        "reading '{reading}'."
    )
    E119 = (
        "llm2ner: the setting 'window' of the LLM is {window} pieces, but with reading "
        "'{reading}' the LLM {name} has positions for {most} ({limit} in all). Give at most that, "
        "or null."
    )
    E120 = (
        "llm2ner: the setting 'stride' of the LLM is {stride}; accepted are 1 to the window's "
        "{window} pieces (half the window is usual), otherwise pieces would be skipped."
    )
    E121 = (
        "llm2ner: the tokenizer of the LLM ({tokenizer}) has neither a BOS nor an EOS piece, so "
        "that no special piece can precede the text."
    )
    E122 = (
        "llm2ner: the tokenizer of the LLM ({tokenizer}) cannot be used: it splits none of the "
        "texts {texts} into pieces."
    )
    E123 = (
        "llm2ner: tuning = 'lora' needs the extra 'lora': pip install 'spacy-llm2ner[lora]' "
        "(missing: {package})."
    )
    E124 = (
        "llm2ner: the setting 'lora_targets' of the LLM is {targets}, and peft finds no layers of "
        "{model} for it: {error}"
    )
    E125 = (
        "llm2ner: the GPU's memory is too small for a single window of {pieces:,} pieces. Set "
        "'window' of the LLM lower, or 'dtype' to a smaller type, or 'device' to 'cpu'. ({error})"
    )
    E126 = (
        "llm2ner: with dtype '{dtype}' the states of the LLM {name} are not finite: numbers "
        "overflow. Set 'dtype' to {wider}."
    )
    E127 = (
        "llm2ner: the stored weights of the {part} do not fit its config: '{weight}' has shape "
        "{stored} in the checkpoint, and {made} by the config ({settings}). Load the pipeline "
        "with the settings that it was trained with."
    )
    E128 = (
        "llm2ner: with tuning = 'full' the setting 'dtype' of the LLM is '{dtype}', but weights "
        "are trained in 'float32'. For speed and memory set 'mixed_precision' instead."
    )
    E129 = (
        "llm2ner: the setting 'reading' of the LLM is 'unmasked', but {model} of {name} attends "
        "only to earlier pieces, with any mask. Set 'attention' to 'sdpa' or 'eager', or 'reading' "
        "to 'twice'."
    )
    E130 = "A key of the state store is {length} bytes (see state_key), not {key}."
    E131 = (
        "States must be a C-contiguous float16 array of shape (tokens, layers, width), but are "
        "{dtype} of shape {shape} with strides {strides}."
    )
    E132 = (
        "StateStore.path = {path!r} {what}. Accepted: a folder that a StateStore has made, an "
        "empty folder, or one that does not exist yet."
    )
    E133 = "StateStore.path must name a folder or be left out, but is ''."
    E134 = "StateStore.ram_mb must be 0 or more (MB), but is {ram_mb!r}."
    E135 = (
        "StateStore.disk_gb must be above 0 (GB) and come with StateStore.path, or be left out "
        "for no limit, but is {disk_gb!r} with path = {path!r}."
    )
    E140 = (
        "llm2ner: the tokenizer of the LLM in {folder} cannot be used: for the text {text!r} it "
        "gives {pieces} pieces, and their offsets cover {characters} of its characters, so that "
        "pieces cannot be assigned to words. Install the release of the package 'tokenizers' that "
        "the model asks for, or copy tokenizer.json again from where the LLM was published."
    )
    E141 = (
        "llm2ner: the tokenizer and the weights in the LLM's folder {folder} do not belong "
        "together: the tokenizer has the piece {piece!r} with number {number}, but the embedding "
        "has {rows} rows (vocab_size in config.json). Copy the tokenizer files of this LLM into "
        "the folder."
    )
    E142 = (
        "llm2ner: weights in the LLM's folder {folder} are truncated or corrupt: {files}. Download "
        "or copy these files again."
    )
    E143 = (
        "llm2ner: weights in the LLM's folder {folder}, read as '{dtype}', are not finite numbers: "
        "{weights}. The files are damaged or come from a training that diverged; get the LLM from "
        "another source. If 'dtype' is 'float16' and the weights are too large for it, set "
        "'bfloat16' or 'float32'."
    )
    E144 = (
        "llm2ner: the states of the LLM {name} are not finite although its weights are, with the "
        "widest dtype, '{dtype}'. Set 'attention' to 'eager', or 'layers' to lower layers; "
        "otherwise choose another LLM."
    )
    E150 = "llm2ner: the GGUF file {file} cannot be loaded: {error}."
    E151 = (
        "llm2ner: the tokenizer in the GGUF file {file} is of the kind '{kind}' "
        "(tokenizer.ggml.model); accepted are {accepted}. Give the LLM as a hub id or a folder "
        "with tokenizer.json instead."
    )
    E152 = (
        "llm2ner: the tokenizer in the GGUF file {file} splits texts in the way '{pre}' "
        "(tokenizer.ggml.pre), which is not known; accepted are {accepted}. With another one, the "
        "LLM would read other pieces than in its training. Convert the model to GGUF again if the "
        "file is older than May 2024, or give the LLM as a hub id or a folder with tokenizer.json."
    )
    E153 = (
        "llm2ner: the tokenizer in the GGUF file {file}, of the kind '{kind}', lacks '{key}'. "
        "Convert the model to GGUF again, or give the LLM as a hub id or a folder with "
        "tokenizer.json."
    )
    E154 = (
        "llm2ner: the tokenizer in the GGUF file {file} contradicts itself: {error}. Convert the "
        "model to GGUF again, or give the LLM as a hub id or a folder with tokenizer.json."
    )
    E155 = (
        "llm2ner: the rotary positions of the LLM in the GGUF file {file} (architecture "
        "'{architecture}') {what}. transformers cannot express that, and the states would be "
        "wrong. Give the LLM as a hub id or a folder with config.json instead."
    )
    E156 = (
        "llm2ner: the GGUF file {file} has an LLM of the architecture '{architecture}', which "
        "transformers {version} does not read from GGUF files; it reads {accepted}. Give the LLM "
        "as a hub id or a folder with config.json instead."
    )
    E157 = (
        "llm2ner: the GGUF file {file} has {found} weights, and the LLM that transformers "
        "{version} makes of it (architecture '{architecture}') has {used}{missing}. Its states "
        "would be wrong. Give the LLM as a hub id or a folder with config.json instead."
    )

    E136 = (
        "llm2ner: the LLM's weight '{weight}' has values up to {largest:.3g}, and float16 ends at "
        "65504. Bundle it with dtype 'original' or '4bit'."
    )
    E137 = (
        "llm2ner: the model {model} comes with its own code (trust_remote_code), and cannot be "
        "bundled in 4 bits. Bundle it with dtype 'original' or 'float16'."
    )
    E138 = "llm2ner: the weights in 4 bits {file} are damaged: {error}. Bundle the LLM again."

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
        "is learnt. Set at least one of them above 0."
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
        "llm2ner: the head has {name} = {before}, which cannot be reduced to {size}: initialise "
        "it again."
    )
    E302 = (
        "llm2ner: the setting 'max_span_tokens' of the head is {setting}, but the stored head was "
        "trained with {width}. Give {width}, or null to use the stored value; a head with another "
        "width must be trained again."
    )
    E303 = (
        "llm2ner: the head was trained on the states of another LLM than the one configured as "
        "{setting} = '{name}' ({differences}). Its scores would be meaningless. Give the LLM "
        "that it was trained with, or train again."
    )
    E304 = (
        "llm2ner: the stored weights were trained on another LLM than the configured one "
        "({differences}). Give the LLM that they were trained with, or train again."
    )
    E305 = (
        "llm2ner: the head was trained on this LLM, {setting} = '{name}', with other settings "
        "({differences}). Its scores would be meaningless. Set these in {section} as they were in "
        "training, or train again."
    )
    E306 = (
        "llm2ner: the stored weights were trained on this LLM with other settings ({differences}). "
        "Set these as they were in training, or train again."
    )
    E310 = (
        "{name}: the training data has spans labelled {unknown}, but the component's labels are "
        "{labels}. Add labels with add_label, or give all of them in "
        "[initialize.components.{name}.labels] (written by `spacy init labels`)."
    )
    E311 = (
        "{name}: the stored component has no labels: its file 'cfg' is missing or damaged. Store "
        "the pipeline again, or load it with exclude=['cfg'] to keep the current labels."
    )
    E312 = (
        "{name}: the setting 'threshold' is {threshold}; probabilities from 0 to 1 are expected: "
        "one number for all labels, or one per label, as a table ({{'PER': 0.9}}) or as text "
        "('PER=0.9,LOC=0.4'; '0.3,PER=0.9' has one for all other labels, as {{'*': 0.3, 'PER': "
        "0.9}} has)."
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
        "{name}: the setting 'pretrained' replaces the head of the model, which must be "
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
    E318 = (
        "the pipeline has no component with a spacy_llm2ner.FrozenLLM.v1, the only kind of LLM "
        "that can be bundled; its components are {components}."
    )
    E319 = (
        "the LLM '{llm}' of the component '{name}' cannot be bundled: that takes a "
        "spacy_llm2ner.FrozenLLM.v1. Remove the component first, or copy the LLM's folder to the "
        "other machine and give it there as {setting}."
    )
    E320 = (
        "llm2ner: spacy_llm2ner.TransformerStates.v1 needs the extra 'spacy-transformers': "
        "pip install 'spacy-llm2ner[spacy-transformers]' (missing: {missing})."
    )
    E321 = (
        "llm2ner: no component named '{upstream}' of the factory 'transformer' precedes this one, "
        "so that spacy_llm2ner.TransformerStates.v1 has no states. Add one to [nlp.pipeline], or "
        "set 'upstream'."
    )
    E322 = (
        "llm2ner: a text has no states: the component 'transformer' that "
        "spacy_llm2ner.TransformerStates.v1 listens to is disabled or comes after it."
    )
    E345 = (
        "{name}: pipelines {first} and {second} have the same head, which would count twice in an "
        "ensemble. Give each pipeline once; they must be trained with different seeds."
    )

    E323 = (
        "llm2ner: a spacy_llm2ner.StackedLLM.v1 has no LLM. Add a section "
        "[components.COMPONENT.model.llm.llms.NAME] with a spacy_llm2ner.FrozenLLM.v1 for each."
    )
    E324 = (
        "llm2ner: '{member}' cannot be the name of an LLM in a spacy_llm2ner.StackedLLM.v1; names "
        "consist of letters, digits, '-' and '_', as they are part of settings and folders."
    )
    E325 = (
        "llm2ner: the LLM '{member}' of a spacy_llm2ner.StackedLLM.v1 is of the kind '{given}', "
        "but each must be a spacy_llm2ner.FrozenLLM.v1."
    )
    E326 = (
        "{name}: the setting 'pretrained' takes one LLM as model.llm, and not the several LLMs "
        "({members}) of a spacy_llm2ner.StackedLLM.v1, on which the shipped head was not trained."
    )
    E330 = (
        "{name}: there are no labels (spaCy's E143): the training data, {texts}, has no annotated "
        "span{lost}. Annotation is looked for in {where}. Annotate the data there, set "
        "'spans_key', or give labels in [initialize.components.{name}.labels]."
    )
    E331 = (
        "{name}: '{setting}' is a setting, and {where} has no effect. At run time, set "
        "nlp.get_pipe('{name}').settings['{setting}']; for a stored pipeline, the config."
    )

    E346 = (
        "doc.user_data['{key}'] of a doc from {source} says that its annotation covers the labels "
        "{labels}, but the span '{span}' has the label {label}: expected all labels of its spans. "
        "(JoinedCorpus.v1 sets it by 'annotated'.)"
    )

    E347 = (
        "{name}: the setting 'pretrained' is '{pretrained}', and model.llm.name = '{llm}' is an "
        "LLM ({type}, {blocks} blocks, width {width}) for which there is no such head. The LLMs "
        "that have one are: {editions}. Use one of them, or train a head on your LLM."
    )

    # E4xx tommer, hf
    E400 = (
        "llm2ner: the setting '{setting}' of ToMMeR.v1 is {value!r}, but the stored head was "
        "trained with {stored!r}. Load the pipeline with the settings that it was trained with."
    )
    E401 = (
        "llm2ner: the ToMMeR head {source} reads block {layer}, which is layer {number} of "
        "FrozenLLM.v1, but the config says layer = {asked} and model.llm.layers = {layers}. Leave "
        "both at null."
    )
    E402 = (
        "llm2ner: the ToMMeR head '{source}' was made for block {layer} of {llm} (width {width}), "
        "but model.llm.name is '{name}', with width {found} and blocks 0 to {last}. Its scores "
        "would be meaningless. Give the LLM that it was made for; if this is that LLM under "
        "another name, set llm_name of ToMMeR.v1 to '{alias}'."
    )
    E403 = (
        "llm2ner: a ToMMeR head reads one layer of one LLM: model.llm of spacy_llm2ner.ToMMeR.v1 "
        "must be a spacy_llm2ner.FrozenLLM.v1, not '{given}'."
    )
    E410 = (
        "llm2ner: the source of the ToMMeR head is '{source}', which is neither a folder nor a "
        "hub id ('org/name')."
    )
    E411 = (
        "llm2ner: the ToMMeR head '{source}' is not a local folder and cannot be downloaded from "
        "the hub ({error}). Give a folder with {files}."
    )
    E412 = (
        "llm2ner: {path} contains objects other than tensors, or is damaged, and was not opened: "
        "{error}"
    )
    E413 = "llm2ner: there is no ToMMeR head in the folder {folder}: {wanted} expected."
    E414 = (
        "llm2ner: {path} does not describe a ToMMeR head: an object of type 'ToMMeR' with fields "
        "llm_name, layer and rank is expected ({error})."
    )
    E415 = (
        "llm2ner: the tensors of the ToMMeR head {path} are {found}, but its settings (rank "
        "{rank}) require {wanted}."
    )
    E420 = (
        "llm2ner: the component '{name}' has no ToMMeR head (spacy_llm2ner.ToMMeR.v1), so that it "
        "cannot be saved as one."
    )
    E421 = (
        "llm2ner: the published layout has room for one label; '{name}' has {labels}. Give one of "
        "them as label, not {label!r}."
    )
    E422 = (
        "llm2ner: '{name}' reads its texts {reading}; the published layout cannot record that, "
        "and other programs would read them once."
    )
    E450 = (
        "llm2ner: the checkpoint has not been loaded yet. Call nlp.initialize(), or load a "
        "pipeline that was stored after that."
    )
    E451 = (
        "llm2ner: the setting 'window' is {window} pieces, but the model {name} has positions for "
        "{most} besides its special pieces. Give at most that, or null."
    )
    E452 = (
        "llm2ner: {name} is not a trained model for token classification: its weights lack "
        "{weights}. For a plain language model, use spacy_llm2ner.TunedLLM.v1 or "
        "spacy_llm2ner.FrozenLLM.v1 with a head."
    )
    E453 = "llm2ner: {model} has no linear layer with {tags} outputs, one for each of its tags."
    E490 = (
        "llm2ner: save_tommer needs the LLM's name, the layer and a label from 0 to {last}; given "
        "are llm_name = {llm_name}, layer = {layer}, label = {label}."
    )

    # E5xx few_shot, prompted
    E550 = (
        "llm2ner: the LLM in {folder} ({model}) is an encoder, whose pieces attend to later "
        "pieces: it cannot generate an answer. Give a decoder (such as Llama) or an "
        "encoder-decoder (such as T5)."
    )
    E551 = (
        "llm2ner: the LLM's folder {folder} lacks weights that are needed to generate answers: "
        "{weights}. Give a model that was saved with its LM head."
    )
    E552 = (
        "llm2ner: neither the tokenizer nor the config of the LLM in {folder} names an end piece "
        "(EOS), so that an answer would never end."
    )
    E553 = (
        "llm2ner: the stored weights were trained on another LLM than the one configured as "
        "model.name = '{name}' ({differences}). Give the LLM that they were trained on, or train "
        "again."
    )
    E554 = (
        "llm2ner: the trained weights of the LLM take {size:,} bytes, and a pipeline can hold "
        "{limit:,}. Train adapters only: tuning = 'lora'."
    )
    E555 = (
        "llm2ner: the pipeline has trained weights for its LLM, but the setting 'tuning' is "
        "'none'. Load it with the settings that it was trained with."
    )
    E556 = (
        "llm2ner: tuning = 'full' trains the weights themselves, for which half precision is "
        "insufficient. Give dtype = 'float32', or tuning = 'lora'."
    )
    E557 = (
        "llm2ner: the setting 'prompt_style' is 'chat', but the tokenizer of the LLM in {folder} "
        "has no chat template. Accepted are auto, plain and inst."
    )
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
    E507 = (
        "{name}: pattern {number} is {entry}, but a pattern of spaCy's EntityRuler is expected: a "
        "label with a phrase or a list of token patterns, e.g. {{'label': 'city', 'pattern': "
        "'Paris'}}."
    )
    E508 = (
        "{name}: the component learnt from annotated texts with version 1, which kept too little "
        "of them to learn further. Set its attribute 'version' to 2 and initialize it with those "
        "texts again."
    )
    E509 = (
        "{name}: the texts have {tokens} tokens, of the {fewest} or more that are needed to learn "
        "from unlabelled texts. Some hundred sentences are a good start."
    )
    E510 = (
        "{name}: the setting 'label_names' gives several labels the name '{twice}'. Each label "
        "needs a different name."
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
    E513 = "{name}: the attribute 'version' is {version}; accepted are 1 and 2."
    E560 = (
        "llm2ner: the mean of F1 needs one metric and at least one corpus; given are {corpora} "
        "corpora under {metrics}."
    )
    E561 = (
        "llm2ner: '{name}' cannot be the name of a label in a prompt: a name must be neither empty "
        "nor O, which marks words outside entities."
    )
    E562 = (
        "llm2ner: the label names '{one}' and '{other}' cannot be told apart in a model's answer. "
        "Give one of them another name with the setting 'label_names'."
    )

    # E6xx calibration, distillation, sweep, evaluation
    E600 = (
        "Logits, targets and weights must have one shape, (cells,); their shapes are {logits}, "
        "{targets} and {weights}."
    )
    E601 = (
        "objective '{objective}': accepted are f1, recall@P (the highest recall with precision P) "
        "and precision@R, with P and R above 0 and up to 1, such as recall@0.95; from 2 to 100 "
        "they are percents (recall@95)."
    )
    E602 = (
        "{name}: a config file cannot hold thresholds for labels named like {labels} (with a comma "
        "and one of '=', ':' or '#'); give one threshold for all labels (calibrate --global)."
    )
    E603 = (
        "spacy_llm2ner.calibrate.v1: the setting 'component' is '{component}'; the components of "
        "the pipeline that can be calibrated are {accepted}."
    )
    E604 = "{name}: a component of this kind cannot be calibrated."
    E605 = "{name}: the dev data has no annotated text; entities are looked for in {where}."
    E606 = (
        "{name}: {unmet}. Nothing was written. Give more dev data or a lower target, or accept "
        "this with --force."
    )
    E607 = "{name}: the dev data {reason}: it cannot be calibrated on."
    E610 = (
        "the pipeline '{name}' writes {missing}, so that there is nothing to compare (its "
        "components: {components}; its keys of doc.spans: {keys}). See --annotation and "
        "--spans-key."
    )
    E611 = "none of the {texts} texts is annotated; gold spans are looked for in {where}."
    E612 = (
        "text {number} of the data has no sentence boundaries, so that sentences cannot be "
        "resampled; resample texts or documents."
    )
    E613 = "no text has '{key}' in its doc.user_data; the keys there are {known}."
    E614 = "two pipelines can be compared on the same data only, but their {what} differ."
    E660 = (
        "{name}: layers can be compared for a component with a head on {llm}, as "
        "spacy_llm2ner.SpanRecognizer.v1 and spacy_llm2ner.TokenTagger.v1 have it; its model is "
        "{model}."
    )
    E661 = (
        "{path} holds the results of another sweep: config, LLM, data or training settings differ. "
        "Give another folder with --output, or start anew with --force."
    )
    E662 = (
        "{path} cannot be read as the results of a sweep ({error}). Give another folder with "
        "--output, or start anew with --force."
    )
    E663 = (
        "--layers '{given}': expected whole numbers from 0 to {n_blocks} (the LLM's blocks), "
        "separated by commas, such as 4,8,12."
    )
    E664 = "{name}: the {which} data has no texts with gold spans, by which layers are compared."
    E665 = (
        "the states of one text per set take {needed:.0f} MB, more than --ram-mb {ram_mb}; raise "
        "it, or tap fewer layers (--every, --layers)."
    )
    E666 = "a search needs Optuna: python -m pip install 'spacy-llm2ner[search]'."
    E667 = (
        "{storage} holds another search: config, LLMs, data, epochs, seed, strategy or what may be "
        "varied differ. Give another folder with --output (or another --storage), or start anew "
        "with --force."
    )
    E668 = "{number} trials failed one after the other; the last one: {error}."
    E650 = (
        "llm2ner: SelfDistillation.v1 names the component '{name}', which is not an 'llm2ner' "
        "component of the pipeline ({pipes})."
    )

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
    E704 = (
        "data path {path}: the folder has no .spacy file and no file of a dataset (.parquet, "
        ".arrow, .json, .jsonl)."
    )
    E705 = (
        "{reader}: the setting 'path' is '{path}', which is not a file: expected a file with a "
        "JSON object per line."
    )
    E706 = (
        "{where}: expected an object with 'tokens' and 'spans' or 'tags', or with "
        "'tokenized_text' and 'ner' ({problem})."
    )
    E707 = "{reader}: the setting 'limit' is {limit}: expected a number of Docs, or 0 for all."
    E708 = (
        "{source} is {kind}, not a CoNLL-style file: expected one word per line. Its reader is "
        "{reader}."
    )
    E709 = (
        "{reader}: the settings 'labels' and 'label2id' are both set, but mean the same: expected "
        "one of them."
    )
    E710 = (
        "{where}: byte {byte} found, which is not UTF-8: expected a file in UTF-8 (convert it "
        "with: iconv -t UTF-8)."
    )
    E711 = "{source}: no sentence found, expected lines of at least 2 columns (word ... tag)."
    E712 = "{where}: {found}, {expected} expected as in line {first}."
    E713 = "{where}: {found}, at least 2 expected (word ... tag)."
    E714 = (
        "{where}: {found}, so that {setting} = {column} does not exist: expected {least} to {most}."
    )
    E715 = (
        "{where}: {found}, and word_column = {word_column} is the same column as tag_column = "
        "{tag_column}: expected two different ones."
    )
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
    E726 = "{where}: expected a list of words and a list of tags, but found {found}."
    E727 = "{where}: {words} words, {tags} tags: expected one tag per word."
    E729 = (
        "{where}: the tag {tag} is a number without a name: expected the setting 'labels' of the "
        "reader, the tags in order, tag -> number, or a JSON file of either."
    )
    E730 = "{where}: the tag {tag} is not one of the {labels} labels."
    E731 = (
        "{reader}: the setting 'labels' is '{path}', expected a JSON file of tags, or of tag -> "
        "number ({problem})."
    )
    E732 = (
        "{reader}: the setting 'labels' is {labels}: expected the tags in order, or tag -> number "
        "from 0, or tag of the data -> tag."
    )
    E733 = "{where}: expected a list of {what}, but found {value}."
    E734 = "{where}: word {index} (from 0) is {value}: expected a string that is not empty."
    E735 = (
        "{where}: the span {span} is none: expected [start, end, label] with start and end as "
        "whole numbers, counted in words from 0."
    )
    E736 = "{where}: the span {span} is not within the {words} words of the sentence."
    E737 = (
        "{where}: the span {span} has no label: expected a string that is not empty as its third "
        "element."
    )
    E738 = (
        "{where}: the tag {tag} is none: expected a string that is not empty, such as O or B-PER, "
        "or the number of a tag."
    )
    E740 = (
        "{where}: the tag '{tag}' has no letter, and nothing shows what it stands for (tags: "
        "{tags}). Set 'labels' of the reader: the tags of the numbers in order, such as ['O', "
        "'B-PER', 'I-PER'], or {{'{tag}': 'O'}} for words outside entities; or set scheme = "
        "'plain' if each tag, except O, is a label.{hint}"
    )
    E741 = (
        "{where}: '{tag}' is not a tag: expected O, or B-, I-, E-, S-, L- or U- before a label, "
        "as in '{other}'. Set scheme = 'plain' of the reader if each tag, except O, is a label; "
        "or say by 'labels' what '{tag}' stands for, such as {{'{tag}': 'O'}}.{hint}"
    )
    E742 = (
        "{where}: nothing shows whether the tag '{tag}' is the label '{tag}', or '{label}' with "
        "the prefix {prefix}- (tags: {tags}). Set scheme = 'plain' of the reader if each tag, "
        "except O, is a label; or the scheme of the prefixes, such as 'BIOES'.{hint}"
    )
    E743 = (
        "{where}: the tag '{tag}' is a prefix without a label (tags: {tags}). Set 'labels' of the "
        "reader to say what such tags stand for, such as {{'B': 'B-DISEASE', 'I': 'I-DISEASE'}}; "
        "or set scheme = 'plain' if each tag, except O, is a label.{hint}"
    )
    E744 = (
        "{where}: the tags '{tag}' and '{other}' look like B- and I- in another spelling. Set "
        "'labels' of the reader to say what they stand for, such as {{'{tag}': 'B-X', '{other}': "
        "'I-X'}}; or set scheme = 'plain' if each tag, except O, is a label.{hint}"
    )
    E745 = (
        "{where}: no tag is O, so that every word would belong to an entity (tags: {tags}). Check "
        "that the right column is read; set 'labels' of the reader to name the tag of words "
        "outside entities, such as {{'{tag}': 'O'}}; or set scheme = 'plain' if each tag is a "
        "label.{hint}"
    )
    E746 = (
        "{where}: the setting 'scheme' is '{scheme}', but the tag '{tag}' is neither O nor has a "
        "prefix ({prefixes}). Set scheme = 'plain' of the reader if each tag, except O, is a "
        "label; or say by 'labels' what '{tag}' stands for.{hint}"
    )
    E747 = (
        "{where}: nothing shows whether this is a comment, or the word # with the tag '{tag}'. "
        "Read the file with comments = true, or with scheme = 'plain'.{hint}"
    )

    E750 = (
        "{source}: the annotation has faults, and the setting 'strict' accepts none: {faults}. "
        "Correct them, or read the data without it: the setting 'fix' (drop, contract or expand) "
        "says what becomes of spans that do not fit tokens."
    )
    E751 = "{where}: this is not JSON ({problem})."
    E752 = (
        "{where}: offsets after the character '{char}' ({code}) mean different places in code "
        "points (Python) and in other units (JavaScript has UTF-16), and nothing in the file shows "
        "which they are. Set 'offsets': {units}."
    )
    E753 = "{where}: the offset {value} is none: expected a whole number, as in {span}."
    E754 = "{where}: expected {expected}, but found {found}."
    E755 = (
        "{reader}: the setting 'path' is '{path}', which shows no format of texts with offsets. "
        "Set 'format': {formats}."
    )
    E756 = (
        "{where}: this text has annotations of {names}, and they differ. Set 'annotator' to one of "
        "these, or to 'first', 'last', 'each' (a doc for each) or 'agreed' (the spans of more than "
        "half of them)."
    )
    E757 = "{source}: no text found, expected {expected}."
    E758 = "{where}: expected a text {text} with its annotation {annotation} ({problem})."
    E759 = (
        "{reader}: the setting 'path' is '{path}', which does not exist: expected a file, a folder "
        "or a dataset of texts."
    )
    E760 = "{where}: there is no column {column} (columns: {columns}).{hint}"
    E761 = (
        "{where}: the setting 'layer' is {layer}, and the layers of spans are {layers}: expected "
        "one of these."
    )
    E762 = (
        "the label map '{name}' cannot be read ({problem}): expected a JSON file with an object "
        "label -> label, or null to leave spans out; a CSV file with two columns; or the name of a "
        "shipped map ({shipped})."
    )
    E763 = (
        "--split {value}: expected two or three shares, such as 80/20 or 80/10/10, and before them "
        "the split of a dataset, if it has several, as in train:90/10."
    )
    E764 = (
        "text {number} ('{text}') has overlapping spans, which {kind} cannot carry. --allow-loss "
        "keeps the longest of them."
    )
    E765 = "text {number} ('{text}'): {kind} cannot carry {what}, which has white space in it."
    E766 = (
        "text {number} ('{text}') has a span of nothing but white space, which {kind} cannot "
        "carry. --allow-loss leaves it out."
    )
    E790 = (
        "doc.user_data['{key}'] is {found}: expected a list of the labels that the annotation of "
        "the doc covers."
    )
    E791 = (
        "spacy_llm2ner.JoinedCorpus.v1: the setting 'annotated' names '{unknown}', but the corpora "
        "are {corpora}: expected names of these."
    )
    E792 = (
        "spacy_llm2ner.JoinedCorpus.v1: the setting 'corpora' is {corpora}: expected a reader for "
        "each corpus, by name, as in [corpora.train.corpora.news]."
    )
    E793 = (
        "spacy_llm2ner.JoinedCorpus.v1: the setting 'annotated' is {labels} for the corpus "
        "'{name}': expected a list of its labels."
    )

    # E8xx reports, hub; annotation from E850
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

    E807 = (
        "llm2ner: the argument llm = '{llm}' names one LLM, and the component '{name}' reads "
        "several ({members}). Name the folder of each: config={{'{setting}': FOLDER}}."
    )
    E805 = "llm2ner: {model} is not a folder; name the file to write the card to (OUT)."
    E806 = (
        "llm2ner: {metrics} contains no scores; a JSON object as `spacy evaluate --output` writes "
        "it is needed."
    )

    E850 = "input {given}: there is no such file or folder."
    E851 = "input {given}: there is no file of a known format in it ({suffixes})."
    E852 = (
        "the output folder {out} is within the input {given}: its files would become input. Give "
        "another folder as OUT."
    )
    E853 = "input file {path}: the suffix is not one of {suffixes}."
    E854 = (
        "the input has files of several formats, such as {first} and {second}. Give files of one "
        "format, for example as a glob in quotes: 'data/*.parquet'."
    )
    E855 = "input file {path}: two columns have the name '{column}'; rename one."
    E856 = "input file {path}: cannot be read as {format} ({error})."
    E857 = (
        "input file {path}: it had at least {rows} rows when the run began, and has fewer now. "
        "Restore it, or begin anew with --force."
    )
    E858 = "output folder {out}: another run is writing to it. Wait for its end, or end it."
    E859 = (
        "output folder: the manifest {path} cannot be read ({error}). Restore it, give another "
        "folder as OUT, or begin anew with --force."
    )
    E860 = (
        "output folder {out}: it was begun with the pipeline {before}, and this run has {now}. "
        "Give the same pipeline, give another folder as OUT, or begin anew with --force."
    )
    E861 = (
        "output folder {out}: the input had {before} files when it was begun, and has {now} now. "
        "Give the same input, give another folder as OUT, or begin anew with --force."
    )
    E862 = (
        "output folder {out}: it was begun with the input file {before}, and this run has {now}. "
        "Give the same input, give another folder as OUT, or begin anew with --force."
    )
    E863 = (
        "output folder {out}: it was begun with {option} = {before}, and this run has {now}. Give "
        "the same, give another folder as OUT, or begin anew with --force."
    )
    E864 = (
        "input file {path}: there is no column '{column}'; its columns are {columns}. Name the "
        "columns with texts by --text-column, and the one that names a row by --id-column."
    )
    E865 = (
        "input file {path}: it has a column '{column}', which is one of those that are added. Give "
        "another name by --entities-column; for 'row', give --id-column."
    )
    E866 = (
        "input: the values of the column '{column}' have no common type ({error}), which Parquet "
        "and Arrow files need. Give --format jsonl."
    )
    E867 = (
        "--uncertain: no component of the pipeline has scores below a threshold ({components}); "
        "'llm2ner', 'llm2ner_tagger', 'llm2ner_fewshot' or 'llm2ner_prompted' is needed."
    )
    E868 = (
        "--uncertain is {floor}, and no threshold of the pipeline is above it ({thresholds}): "
        "there is nothing between them."
    )
    E869 = (
        "--states-only: no component of the pipeline has a frozen LLM ({components}); 'llm2ner', "
        "'llm2ner_tagger' or 'llm2ner_fewshot' with a spacy_llm2ner.FrozenLLM.v1 is needed."
    )
    E870 = "--states-only: the states cannot be stored. {error}"
    E871 = (
        "more than {most} rows failed (--max-errors){last}. Complete shards are kept, and their "
        "failed rows are in {out}/failed; call the command again with a higher --max-errors to go "
        "on."
    )
    E872 = (
        "--n-process is {processes} and --gpu-id is {gpu}: each process needs a GPU, from that one "
        "on, and this machine has {found}."
    )
    E873 = (
        "a process ended unexpectedly, usually because memory ran out. Call the command again to "
        "go on, with a smaller --n-process or --batch-size."
    )
    E874 = "{option} is {value}; {needed}."
    E875 = (
        "--engine ray needs the extra 'ray': pip install 'spacy-llm2ner[ray]' (missing: {package})."
    )
    E876 = (
        "a worker on the node {node} does not find the output of this run in {out}{found}. Input "
        "and output must be in a file system that all nodes have under the same path."
    )
    E877 = (
        "a worker on the node {node} has another pipeline under the name {model} (digest {found}) "
        "than this process (digest {expected}). All nodes need the same files of it, and of its "
        "LLMs."
    )
    E878 = (
        "workers ended unexpectedly {deaths} times while they {what}, usually because memory ran "
        "out. Complete shards are kept; call the command again to go on, with a smaller "
        "--batch-size, or with more memory for each worker (more --worker-cpus or --worker-gpus, "
        "so that a machine has fewer). The last message: {last}"
    )
    E879 = (
        "--workers is {workers}, with {cpus:g} CPUs (--worker-cpus) and {gpus:g} GPUs "
        "(--worker-gpus) each; this machine has {has_cpus:g} CPUs and {has_gpus:g} GPUs. Give "
        "smaller numbers, or the --address of a larger cluster."
    )
    E880 = "the server has no pipeline '{pipeline}'; its pipelines are {pipelines}."
    E881 = (
        "pipeline '{pipeline}': the field '{field}' has no use, since the pipeline has no "
        "component of spacy-llm2ner; its components are {components}."
    )
    E882 = "pipeline '{pipeline}' has no label '{label}'; its labels are {labels}."
    E883 = "pipeline '{pipeline}': the field 'decoding' is '{decoding}'; accepted are {accepted}."
    E884 = (
        "pipeline '{pipeline}': the field 'new_labels' needs a component llm2ner_fewshot or "
        "llm2ner_prompted; the labels of other components are learnt in training."
    )
    E885 = "pipeline '{pipeline}': a label of the field 'new_labels' is '{label}', which is blank."
    E886 = "the body of the request has more than {most} bytes, the server's limit."
    E887 = "the body of the request did not arrive within {seconds:g} seconds."
    E888 = (
        "the server does not go by the name '{host}' of the header Host. Call it 127.0.0.1 or "
        "localhost, or start it with --allow-host."
    )
    E889 = "the request has {texts} texts; the server's limit is {most}. Send several requests."
    E890 = "text {index} has {chars} characters; the server's limit is {most}."
    E891 = "too many texts wait (the server's limit is {most}). Send the request again later."
    E892 = "the server is shutting down."
    E893 = "the request waited for {seconds:g} seconds, the server's limit. Send it again later."
    E894 = "the pipeline did not finish within {seconds:g} seconds, the server's limit."
    E895 = "the request is not as described on the page /docs: {where}: {problem}."
    E896 = (
        "two pipelines have the name '{name}'; give one of them another name in requests: "
        "NAME={model}."
    )
    E897 = "pipeline '{name}' fails on a trial text. {error}"
    E898 = (
        "to serve pipelines, install the extra 'serve': pip install 'spacy-llm2ner[serve]' "
        "(missing: {package})."
    )
    E899 = "the port {port} of {host} cannot be listened on ({error}); give another --port."

    # E9xx cli
    E901 = "output path {path}: expected a folder, but this is a file."
    E902 = "data path {path}: there is no such file or folder."
    E903 = (
        "data path {path}: the folder has no .spacy file and no file of a dataset (.parquet, "
        ".arrow, .json, .jsonl). Name a CoNLL-style file itself, not its folder."
    )
    E905 = "data path {path}: cannot be read as {suffix} data ({error})."
    E906 = "the text has {tokens} tokens; give a text of 1 to {most} tokens."
    E907 = "the pipeline has no '{factory}' component; its components are {components}."
    E908 = "the pipeline has no component '{name}'; its components are {components}."
    E909 = (
        "the scores of the component '{name}' cannot be split into parts; a model "
        "SpanRecognizer.v1 with the head SpanScorer.v1, or ToMMeR.v1, is needed."
    )
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
        "data path {path}: the folder has no .spacy file and no file of a dataset (.parquet, "
        ".arrow, .json, .jsonl). Name a CoNLL-style file itself, not its folder."
    )
    E924 = "data path {path}: cannot be read as .spacy data ({problem})."
    E925 = "data path {path}: there are no texts in it."
    E926 = "the config has no setting {settings}."
    E927 = (
        "training data {path}: there are no entities in its {docs} texts, neither in doc.ents nor "
        "in doc.spans['{key}']. Annotate them, or give other data by --train."
    )
    E940 = "output path {path}: expected a file with the suffix {suffix}."
    E941 = "{path} is {kind}: {settings} cannot be set for it (its settings: {accepted})."
    E942 = "output path {path}: this is an input file; give another path."
    E943 = (
        "{path}: the .spacy files of this folder store different attributes, so that they cannot "
        "be joined."
    )
    E944 = "output path {path}: with --split {value}, expected a folder, which gets {names}."
    E945 = "the format {format} is none: expected one of {formats}."
    E946 = (
        "output path {path}: --force overwrites files, but no folder with other files in it than "
        "those of an earlier conversion ({found})."
    )
    E947 = (
        "output path {path}: expected a file with the suffix {suffix}, or --to with one of "
        "{formats}."
    )
    E948 = (
        "data path {path}: this is one document, which becomes one text, so that there is nothing "
        "to split. Set --sentences-per-doc to 1 or more."
    )
    E949 = (
        "{options}: these say how annotated data is read, but there is none: give it by {option}."
    )
    E950 = "{path}: there is no state store (no file data.mdb)."
    E951 = (
        "--llm {given}: the fingerprints of {matches} LLMs in the store begin so, and one is "
        "needed; there are {known}."
    )
    E952 = "say what to remove: --max-gb, --llm or --older-than."
    E953 = "{option} is {value}; it must be 0 or more."
    E954 = "this deletes the states of {texts} ({size}); --force does it."
    E960 = (
        "{path} is the pipeline itself: give another folder as OUT. The files of a bundled LLM may "
        "be in use while it is written."
    )
    E961 = (
        "data path {path}: neither a key of doc.user_data nor a column of the data is called "
        "'{column}'."
    )
    E962 = "data path {path}: there is no gold span in it, so that --fail-under has no F1 to judge."
    E963 = (
        "--meta: {model} is not the folder of a pipeline, whose meta.json could be written. Give "
        "the path of one."
    )
    E964 = "--meta: {path} has no gold span, so that there are no scores to store."
    E970 = (
        "learning from the texts made the pipeline worse on {examples}: F1 {before:.1f} -> "
        "{after:.1f}. Nothing is written; --force writes it."
    )
    E971 = '{path}, line {line}: expected a JSON object with a "text".'
    E972 = "{path}: expected a file with the suffix .txt, .jsonl or .spacy."
    E973 = (
        "the pipeline has several '{factory}' components: choose one by --component ({components})."
    )


class Warnings(metaclass=_WithCodes):
    """Texts of warnings; `spacy.errors.filter_warning` can silence one by its code."""

    # The state store
    STORE = "State store {path!r} {trouble}"

    # W0x the span recogniser, and warnings of all components
    W01 = (
        "{name}: {long} of {total} gold spans of the training data are longer than the {width} "
        "tokens of max_span_tokens and can be neither learnt nor found (the longest has "
        "{longest}). Raise max_span_tokens of the head."
    )
    W02 = (
        "{name}: {lost} of {total} gold spans of the training data do not begin and end where "
        "tokens of the pipeline's tokenizer do, or do so with white space or invisible characters, "
        "and cannot be learnt."
    )
    W03 = (
        "llm2ner: the LLM '{name}' is read with other settings than those that the head was "
        "trained with, or is another copy of it ({differences}). Scores may differ slightly."
    )
    W04 = (
        "{name}: no component returns a score that [training.score_weights] counts ({weights}), so "
        "that all checkpoints get the same score. With annotate = '{annotate}' and "
        "spans_key = '{key}', add {own} = 1.0 there."
    )
    W05 = (
        "{name}: {unseen} of {total} gold spans of the training data begin or end with a token "
        "that no piece of the LLM's tokenizer touches, and can be neither learnt nor found."
    )
    W06 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold has no effect."
    )
    W08 = "{name}: the schedule does not fit the data: {faults}"
    W09 = (
        "{name}: the LLM '{llm}' of this pipeline is not on this machine (working directory: "
        "{cwd}). The pipeline is loaded, but the first text will be an error. Give the folder of "
        "the same LLM: spacy.load(..., config={{'{setting}': FOLDER}}); `python -m spacy llm2ner "
        "card MODEL` says which files these are. Or, where the LLM is, write a pipeline that "
        "carries it: python -m spacy llm2ner bundle MODEL OUT. Or, if the same files are on the "
        "model hub, give their hub id as FOLDER, and they are downloaded."
    )
    W10 = (
        "{name}: the LLM '{llm}' of this pipeline is not on this machine (working directory: "
        "{cwd}). The pipeline is loaded, but the first text will be an error. Give the folder of "
        "the same LLM: spacy.load(..., config={{'{setting}': FOLDER}}); or, if its files are on "
        "the model hub, their hub id, and they are downloaded. (`llm2ner bundle` cannot write a "
        "pipeline that carries this LLM: that takes a spacy_llm2ner.FrozenLLM.v1.)"
    )
    W11 = (
        "{name}: {unscored} of {total} gold spans of the training data have more pieces of the "
        "LLM's tokenizer than the head's sliding_window allows, or begin or end with a mark that "
        "shares a piece with a word, and can be neither learnt nor found."
    )
    W12 = (
        "{name}: doc.spans['{key}'] already had {spans} spans, of an earlier component or of the "
        "text's annotation, which this component replaces by its own. Set another spans_key for "
        "it, or on_existing_spans = 'merge' to keep both."
    )
    W07 = (
        "{name}: the dev data has spans with labels that the component does not have: {labels}. "
        "They are not counted."
    )

    W15 = (
        "{name}: the threshold was set to {threshold} at run time, and the stored pipeline will "
        "have that of its config instead. To store it, set it by spacy_llm2ner.pipeline.thresholds."
        "set_threshold(nlp, '{name}', '{threshold}')."
    )
    W16 = (
        "{name}: there is nothing to learn: the training data, {texts}, has no annotated span"
        "{lost}. Annotation is looked for in {where}."
    )
    W17 = "{name}: {what} {reason}. All scores of this component are 0 or empty."
    W18 = (
        "{name}: {what} has spans with labels that the component does not have: {counts}. They "
        "cannot be found, and count as missed."
    )
    W19 = (
        "{name}: {count} of {total} gold spans of the training data overlap others in such a way "
        "that annotate = '{annotate}' with decoding = '{decoding}' can never write them. Set "
        "{remedy} to find them."
    )

    # W2x token taggers
    W20 = (
        "{name}: {lost} of {total} gold spans of the training data do not begin and end where "
        "tokens of the pipeline's tokenizer do, or do so with white space or invisible characters, "
        "and cannot be learnt."
    )
    W21 = (
        "{name}: {lost} of {total} gold spans of the training data overlap another one, or cannot "
        "be expressed by the tags {tags} ..., and cannot be learnt: of overlapping spans the "
        "first and longest one counts. For overlapping spans use the component 'llm2ner'."
    )
    W22 = (
        "{name}: {unseen} of {total} gold spans of the training data begin or end with a token "
        "that no piece of the LLM's tokenizer touches, and can only be learnt without it."
    )
    W23 = (
        "{name}: no component returns a score that [training.score_weights] counts ({weights}), so "
        "that all checkpoints get the same score. With annotate = '{annotate}' and "
        "spans_key = '{key}', add {own} = 1.0 there."
    )
    W24 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold has no effect."
    )
    W25 = (
        "{name}: the head has a CRF, but the setting 'crf' of the loss is 0: its transitions are "
        "never trained, and only exclude invalid tag sequences. Set 'crf' above 0, or use the "
        "head spacy_llm2ner.LinearTagger.v1."
    )
    W26 = "{name}: {problem}"
    W27 = (
        "{name}: {dropped} entities were left out: they share a token with a more probable "
        "entity, because the pipeline's tokens are longer than the model's words; or they cover "
        "white space and invisible characters only."
    )

    # W3x prompted recognition
    W30 = (
        "{name}: {lost} of {total} gold spans of the training data do not begin and end where "
        "tokens of the pipeline's tokenizer do, or do so with white space or invisible characters, "
        "and cannot be learnt."
    )
    W31 = (
        "{name}: {overlapping} of {total} gold spans of the training data overlap a longer one, "
        "and are left out: an answer has one tag for each word."
    )
    W32 = (
        "{name}: no component returns a score that [training.score_weights] counts ({weights}), so "
        "that all checkpoints get the same score. Add ents_f, entity_position_f or "
        "gner_string_f = 1.0 there."
    )
    W33 = (
        "{name}: the setting 'tuning' of the LLM is 'none', or nlp.initialize() was not called: "
        "nothing is learnt."
    )

    W34 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold has no effect."
    )

    # W4x few-shot recognition
    W40 = (
        "{name}: these labels have neither annotated texts nor names in the setting 'labels', and "
        "are not English words: {labels}. Give a few names, or nouns with their meaning in the "
        "setting 'words'."
    )
    W41 = (
        "{name}: there are {total} annotated spans. With so many, a trained head learns more, "
        "including boundaries: train 'llm2ner'."
    )
    W42 = (
        "{name}: {lost} of {total} annotated spans do not begin and end where tokens of the "
        "pipeline's tokenizer do, or end with a token that the LLM does not see, and cannot be "
        "learnt."
    )
    W43 = (
        "{name}: this component learns from examples in nlp.initialize() and has nothing to "
        "update. To train in steps, use 'llm2ner'."
    )
    W44 = (
        "{name}: the mention head finds {found} of {total} annotated spans. Mentions that it does "
        "not find get no label: for spans of this kind, train 'llm2ner'."
    )
    W45 = (
        "{name}: the setting 'threshold' names {unknown}, but the component's labels are "
        "{labels}: that threshold has no effect."
    )
    W46 = (
        "{name}: these names are given for several labels: {names}. They are not looked for in "
        "texts, and say little about their labels. Keep each for one label, or annotate some texts "
        "with it."
    )
    W47 = (
        "{name}: these names resemble those of another label: {names}. If they are right, more "
        "names of their kind or a few annotated texts help; otherwise remove them."
    )
    W48 = (
        "{name}: some have more than {most} tokens ({what}) and are not found as a whole. To find "
        "long spans, train 'llm2ner'."
    )
    W49 = (
        "{name}: these names are not in Latin script: {names}. The mention head and the sentences "
        "that names are read in are English, so that such names are hardly found. For texts in "
        "another language, train 'llm2ner'."
    )

    # W5x corpora
    W50 = (
        "{source}: {why}, so that with sentences_per_doc = {value} {what} ({sentences} sentences). "
        "If the sentences are separate texts, set sentences_per_doc = 1, for a Doc per sentence "
        "(`convert --sentences-per-doc 1`)."
    )

    # W6x LLMs
    W60 = (
        "The LLM {name} finds a paragraph of plain English hardly likelier than its words shuffled "
        "(negative log-likelihood per character: {plain:.2f} and {shuffled:.2f}), so that its "
        "states will tell little. Its tokenizer or its weights are not those of its training; get "
        "the LLM in another format or from another source. Ignore this if it knows no English, or "
        "was trained for another task than language modelling."
    )
    W61 = (
        "The tokenizer of the LLM {name} does not cover a paragraph of plain English: {uncovered} "
        "of {characters} characters belong to no piece, and {empty} of {pieces} pieces to no "
        "character. Tokens without a piece have no states and cannot be found. Copy tokenizer.json "
        "again from where the LLM was published, or choose another LLM."
    )
    W62 = (
        "llm2ner: states of the LLM {name} have numbers at the limit of float16, 65,504, where "
        "larger ones are cut off. {advice}"
    )
    W63 = (
        "The tokenizer of the LLM {name} needs {pieces:.1f} pieces for a word of {texts} (for "
        "English, 1.1 to 1.6 are usual). Each piece takes time, and fewer words fit into a window. "
        "Check that it is the LLM's own tokenizer, or choose an LLM for this language."
    )
    W64 = "The LLM {name} with dtype = '{dtype}': {error} The suggested settings do without it."
    W65 = (
        "The tokenizer of the LLM {name} gives no piece for {uncovered} of {characters} characters "
        "of {texts}, and the piece for unknown characters {unknown} times. Entities with these "
        "characters are read without them; choose an LLM for this language."
    )
    W66 = "The likelihood that the LLM {name} gives to a paragraph was not measured: {reason}."
    W67 = (
        "llm2ner: a text has {pieces:,} pieces, the setting 'window' of the LLM {name} is "
        "{window:,}, and blocks of it attend to the last {reach:,} pieces only. With reading = "
        "'twice', words in windows of more than {reach:,} pieces do not see all that follows them. "
        "Set window = {most} or less (and stride to half of it), and train the head with that."
    )
    W68 = (
        "--engine ray: the cluster has had no room for a worker for {seconds:.0f} seconds; each "
        "needs {cpus:g} CPUs and {gpus:g} GPUs of one node, and {free} are free. The run goes on "
        "waiting: other jobs may end, or the cluster may grow."
    )
    W69 = (
        "llm2ner: the LLM {name} computes in bfloat16 (setting 'dtype'), which this CPU only "
        "emulates, slower than float32. Set dtype = 'auto': bfloat16 only where the device "
        "computes it natively."
    )
