"""`rankd load`: calls at a fixed rate from several processes, and how long they took."""
