"""What moves traffic between versions."""
