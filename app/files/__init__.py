"""The files of a library on disk: originals, uploads, caches, and their names."""
