"""Networks written once, in PyTorch's API, and run by both libraries: where is a step slow?"""
