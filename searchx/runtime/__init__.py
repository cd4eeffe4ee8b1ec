"""Models in the form in which OpenVINO computes them on a processor, without torch.

A model is prepared once: exported from torch, checked against it, and kept in the user's cache.
From then on it is read from there. Where that cannot be, torch computes, and a reason tells why.
"""
