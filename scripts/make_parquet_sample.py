#!/usr/bin/env python3
"""Writes the small Parquet files of tests/io. Needs the PyPI package pyarrow."""

import pathlib

import pyarrow
import pyarrow.parquet

table = pyarrow.table({"text": ["one", "two Grüße", ""], "number": [1, 2, 3], "gaps": ["a", None, "c"]})
for codec in ("snappy", "zstd"):
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "io" / f"{codec}.parquet"
    pyarrow.parquet.write_table(table, path, compression=codec, row_group_size=2)
