"""Factors of matrices and what is solved with them: LU, Cholesky, triangles, QR."""
