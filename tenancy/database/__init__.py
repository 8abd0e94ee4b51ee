"""Where instance databases lie, and how they are made, opened and removed."""
