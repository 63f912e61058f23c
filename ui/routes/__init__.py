"""The data routes of the server under `/v1`, with the documents of `app/schemas/`."""
