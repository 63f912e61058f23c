"""The use cases of Longview, which combine video, model and library, and their command line."""
