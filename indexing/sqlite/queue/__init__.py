"""The rows of the job queue."""
