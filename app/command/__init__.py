"""The command line's parts: what `wops` prints and asks; `app.cli` puts them together."""
