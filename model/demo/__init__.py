"""The bundled demo checkpoint, and what only it needs."""
