"""Times the same work in dyn and in its peers, in one alternating run, and reports ratios.

`python -m benchmarks` (or `make bench`). Each peer runs in the interpreter named for it, so that
none of them needs to live beside dyn. No test asserts a time; this report is where speed is seen.
"""
