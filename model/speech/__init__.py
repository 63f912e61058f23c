"""Speech recognition: voice activity, recognition of chunks, and removal of what was not said."""
