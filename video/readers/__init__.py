"""One module a decoding library, each with one function `read` (see `video.readers.base.Reader`)."""
