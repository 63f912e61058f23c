"""What a server runs beside its pages: workers of the queue, uploads, browser copies and the samples."""
