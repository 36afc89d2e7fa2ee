"""How good an estimate is: spread, theory, settling of the scales, and very many samples."""
