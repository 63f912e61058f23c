"""CSV: a table with one row for each segment."""

import csv
import io
import unicodedata

from longview.indexing.exports.cleaning import clean_text
from longview.indexing.exports.format import ExportedSegments, ExportFormat
from longview.indexing.exports.formats.json_document import segment_row

COLUMNS = ("start_s", "end_s", "start", "end", "source", "language", "text")
_TEXT_COLUMNS = ("source", "language", "text")


def _write(content: ExportedSegments) -> str:
    target = io.StringIO()
    writer = csv.DictWriter(target, COLUMNS)
    writer.writeheader()
    for segment in content.segments:
        row = segment_row(segment)
        writer.writerow(row | {column: _text_cell(row[column] or "") for column in _TEXT_COLUMNS})
    return target.getvalue()


def _text_cell(text: str) -> str:
    """Return a text that a spreadsheet does not evaluate: an apostrophe precedes what it may interpret as a formula.

    Spreadsheets ignore spaces and control characters before a formula, and some accept its full-width first character.
    Source: OWASP, CSV Injection.
    """
    text = clean_text(text)
    first = next((character for character in text if unicodedata.category(character)[0] not in "ZC"), "")
    return f"'{text}" if first and unicodedata.normalize("NFKC", first) in "=+-@" else text


FORMAT = ExportFormat("csv", ".csv", "text/csv", _write)
