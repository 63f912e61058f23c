"""The library in SQLite, with FTS5 for words and FAISS for vectors."""
