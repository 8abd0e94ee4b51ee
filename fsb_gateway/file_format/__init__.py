"""The files that travel between License Central and a container: context, update, receipt."""
