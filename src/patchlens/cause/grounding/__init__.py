"""Replace the picture, and tell answers that need it from those said of any."""
