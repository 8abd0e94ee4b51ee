"""The front: what both load balancers are to do, and how a running HAProxy is brought there."""
