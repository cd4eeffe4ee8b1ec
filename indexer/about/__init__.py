"""What is told of a picture, inside its file and beside it."""
