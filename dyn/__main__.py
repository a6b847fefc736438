"""`python -m dyn`: the command `dyn`, for where it is not on the path."""

from dyn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
