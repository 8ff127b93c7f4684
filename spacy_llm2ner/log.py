"""The package's logger: below spaCy's, in spaCy's format.

`spacy train` shows warnings only unless it is called with --verbose. What the LLM had to read is
news that a user waits for, so this logger shows INFO. To silence it:
`logging.getLogger("spacy.llm2ner").setLevel(logging.WARNING)`.
"""

import logging

logger = logging.getLogger("spacy.llm2ner")
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
