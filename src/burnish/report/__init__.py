"""Records on disk -> one offline page, a model card, tables for the terminal, and the check of all their numbers.

    page.py    render, write: the HTML page          card.py    the model card for the hub
    table.py   frames and terminal lines             verify.py  recompute every number, compare every hash

The report is a reader: it knows the files of a run folder and imports neither torch nor any technique.
"""

__all__: list[str] = []
