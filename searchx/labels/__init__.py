"""Labels from a vocabulary of the user's own: read it, judge pictures by it, keep what is found."""
