"""Small forwards: what tracing must accept in silence, and what it must refuse."""

from tests.tracer.corpus import branches, refused, sizes, state
from tests.tracer.corpus.base import ILLEGAL, LEGAL, Forward

__all__ = ["ILLEGAL", "LEGAL", "Forward", "branches", "refused", "sizes", "state"]
