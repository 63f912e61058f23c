"""What the Makefile runs before the requirements are installed, with the standard library alone. It is not part of the wheel."""
