"""What a library stores, as values: videos, tracks, jobs and their provenance."""
