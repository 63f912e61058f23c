"""Back-ups of a library, their restore, and the deletion of what has expired."""
