"""Records of key ceremonies: what was done to firm keys, derived from what is stored."""
