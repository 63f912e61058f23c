"""What all packages use: times and spans, progress, atomic writes, and the identity of processes."""
