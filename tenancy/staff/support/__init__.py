"""Support looks into an instance only while its customer lets them."""
