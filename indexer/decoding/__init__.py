"""Files to pictures and texts, in processes that may crash without harm."""
