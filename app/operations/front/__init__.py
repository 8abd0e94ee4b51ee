"""Keeping load balancers as the platform wants them: what they are to be, and bringing each of them there."""
