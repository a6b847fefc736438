"""Convolution 3 x 3 with stride 1 by Winograd's minimal filtering, and its gradients."""
