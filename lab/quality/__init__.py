"""How good an estimate is: spread, theory, settling of the factors, and very many samples."""
