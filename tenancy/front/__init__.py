"""What customers and staff say of the front: own host names with their certificates, and networks that are denied."""
