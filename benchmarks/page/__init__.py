"""The page and the routes of the server."""
