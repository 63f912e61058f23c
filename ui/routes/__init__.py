"""Routes of the server, one module for each kind of thing that the page and programs ask for."""
