"""Drawn scenes whose truth is known down to the pixel, and questions about them."""
