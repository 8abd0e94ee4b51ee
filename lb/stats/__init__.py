"""What `lb.haproxy_stats` is made of. Others import that module."""
