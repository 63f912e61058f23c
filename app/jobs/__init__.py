"""The queue of files to index: running jobs, their progress, and folders that are watched for new files."""
