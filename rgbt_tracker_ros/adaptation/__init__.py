"""A student adapted to recorded cameras without labels: what `rgbt distill` does."""
