"""Pure: the log's records, and the model as a fold over them. No clock, no I/O, no globals."""
