"""The models that ship with searchx, and how they were put together."""
