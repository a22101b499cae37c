"""What happened, from all tables that have a part of it, as one list: the newest first.

`entries.py` has the shape of an entry and its place in the list, `search.py` what can be searched for, `sources.py` the
tables, `merge.py` the pages and the stream that are made of them, `files.py` the formats of an export, and `export.py`
the export itself. (docs/auditing.md)
"""
