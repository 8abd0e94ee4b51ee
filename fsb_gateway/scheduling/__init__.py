"""What surrounds fair queueing: tags, expected waits, who delays whom, which box is out. Pure."""
