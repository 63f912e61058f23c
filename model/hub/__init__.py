"""Downloads from the Hugging Face Hub or a server with its protocol: pinned to a commit, and checked by hashes."""
