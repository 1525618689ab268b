"""Steps that change `work.train` only."""
