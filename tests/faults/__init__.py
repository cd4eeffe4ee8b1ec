"""Faults on purpose: what a library holds when a process dies, a disk fills up or a call fails."""
