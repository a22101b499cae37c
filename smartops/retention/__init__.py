"""History ends: `manage.py retain` exports the partitions that are older than their table's retention, and drops them.

`months.py` says which partitions are due, and `kept.py` what keeps one. `export.py` writes and verifies the files.
`drop.py` ends a partition. An interruption at any point leaves a file without its manifest, or an exported partition:
both are completed by the next run. `expired.py` deletes rows that are no history. (docs/production.md#retention)
"""
