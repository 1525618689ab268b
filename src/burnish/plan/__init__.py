"""From a request and a budget to one measured, chosen model."""
