"""The data routes of the server under `/v1`, one module for each kind of thing, with the documents of `app/schemas/`."""
