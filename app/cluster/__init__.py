"""The whole platform on one machine in processes of their own: what belongs to it, started, watched and ended."""
