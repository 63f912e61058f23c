"""Tasks of a model: captions, localisation of a query, answers, verification and chapters."""
