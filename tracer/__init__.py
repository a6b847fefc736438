"""Records one forward run of a dyn model as a graph."""
