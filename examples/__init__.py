"""Programs that show the whole path: train, trace, export, verify, serve."""
