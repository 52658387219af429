"""The log in other formats: JSONL (all of it), dsjson and Parquet (what was learned)."""
