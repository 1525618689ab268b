"""Steps that change `work.model` by learning from `work.train`."""
