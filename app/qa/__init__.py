"""Questions and searches: answers, moments, locations and chapters, with their evidence."""
