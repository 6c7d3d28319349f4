"""Data: labelled text from anywhere as Rows, checked, split, and with its test part sealed."""

from pegbox.data.download import fetch, home, read_member
from pegbox.data.read import read
from pegbox.data.rows import Data, Opening, Rows, Sealed
from pegbox.data.samples import SAMPLES, Sample, load_sample, sample
from pegbox.data.split import dev_split, few_shot, split
from pegbox.data.stream import Reading
from pegbox.data.table import Table, read_rows, read_table, stream_rows

__all__ = [
    "SAMPLES",
    "Data",
    "Opening",
    "Reading",
    "Rows",
    "Sample",
    "Sealed",
    "Table",
    "dev_split",
    "fetch",
    "few_shot",
    "home",
    "load_sample",
    "read",
    "read_member",
    "read_rows",
    "read_table",
    "sample",
    "split",
    "stream_rows",
]
