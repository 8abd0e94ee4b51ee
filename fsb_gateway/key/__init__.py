"""Keys: the root and the instance CAs, whose firm keys are, how keys are wrapped at rest and between boxes."""
