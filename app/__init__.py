"""The service: everything a person or an ERP talks to."""
