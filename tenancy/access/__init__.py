"""Who may call an instance."""
