"""Tests, one folder a part of burnish; `tests.tiny` has the small model and rows they share."""
