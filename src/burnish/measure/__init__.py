"""What burnish knows about a model, seen from outside: quality, size, speed, memory, and how sure it is.

Every function here reads; none changes a model, a row or a setting. Import the file you need:

    intervals    an interval round every score, paired drops with their p
    power        the smallest drop that so many rows can show
    quality      metrics, confusion, worst mistakes
    calibration  does 0.9 mean nine in ten
    agreement    how far two sets of outputs are apart
    baselines    what a model must beat to be worth its weight
    recompute    all numbers again, from stored predictions alone
    size, memory, machine, speed
"""

__all__: list[str] = []
