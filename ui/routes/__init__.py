<<<<<<< HEAD
"""The data routes of the server under `/v1`, with the documents of `app/schemas/`."""
=======
"""Routes of the server, one module for each kind of thing that the page and programs ask for."""
>>>>>>> uploads31
