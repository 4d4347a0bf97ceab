"""Pixels and boxes: opening pictures, and the grids of their patches."""
