"""Statistics that keep their promise: intervals, ranks, differences. On scipy; knows no torch."""
