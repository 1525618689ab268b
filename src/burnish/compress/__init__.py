"""Steps that make `work.model` smaller or faster."""
