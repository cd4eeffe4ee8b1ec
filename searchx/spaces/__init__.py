"""The second space of a library, in which its items are embedded while the first one serves.

`beside` reads and writes it; `progress` tells how far that is; `switching` checks it and exchanges
the two; `upkeep` drops the one that does not serve.
"""
