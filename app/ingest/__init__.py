"""From a file to tracks: the evidence sources of a video, in their order, and how long they take."""
