"""One op at a time over a grid of shapes, beside torch eager: where are we slow?"""
