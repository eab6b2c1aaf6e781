"""The one module that touches ``langchain_community``: its loaders for text and CSV files.

The package says at import that it is being retired; that warning is silenced here, so that a
replacement has one place to go. Knows nothing of passages: it gives text and rows.
"""

import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.document_loaders.csv_loader import CSVLoader
    from langchain_community.document_loaders.text import TextLoader

FIELD_LIMIT = 1_000_000  # characters in one cell


def load_text(path: Path, encoding: str) -> str:
    """Return a text file's text, its line ends all ``\\n``."""
    return "".join(
        document.page_content for document in TextLoader(path, encoding=encoding).lazy_load()
    )


def load_rows(
    path: Path, encoding: str, columns: Sequence[str], delimiter: str
) -> Iterator[dict[str, str]]:
    """Yield a CSV file's rows by column; ``columns`` are names that differ from one another.

    The first line is yielded too: whether it holds names is the caller's to say. Cells beyond the
    columns are lost; missing ones are empty. Raises ``RuntimeError`` when the file is malformed.
    """
    csv.field_size_limit(FIELD_LIMIT)
    loader = CSVLoader(
        path,
        encoding=encoding,
        metadata_columns=list(columns),
        csv_args={"fieldnames": list(columns), "delimiter": delimiter},
    )
    for document in loader.lazy_load():
        yield {name: str(document.metadata.get(name) or "") for name in columns}
