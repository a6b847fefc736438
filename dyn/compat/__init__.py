"""Other frameworks' names and conventions over the same tensors, layers and optimisers."""
