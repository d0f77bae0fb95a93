"""Stand-ins for what a test cannot have: each says what it does itself, so that a test can compare."""
