"""The package's logger: below spaCy's, in spaCy's format.

`spacy train` shows only warnings unless it is called with --verbose. This logger shows INFO,
because users wait for the reports on the LLM's reading. To silence it:
`logging.getLogger("spacy.llm2ner").setLevel(logging.WARNING)`.
"""

import logging

logger = logging.getLogger("spacy.llm2ner")
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
