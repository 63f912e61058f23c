"""The export formats: a module for each, with its description in the constant `FORMAT`. `FORMATS` has a row for each."""

from longview.indexing.exports.format import ExportFormat
from longview.indexing.exports.formats import csv_table, json_document, plain_text, subrip, webvtt

FORMATS: dict[str, ExportFormat] = {
    module.FORMAT.name: module.FORMAT for module in (subrip, webvtt, json_document, csv_table, plain_text)
}
"""The formats by name, in the order in which users see them."""
