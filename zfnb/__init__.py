"""zfnb."""
