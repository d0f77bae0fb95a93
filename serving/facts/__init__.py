"""What was seen: frozen dataclasses without I/O and without opinions."""
