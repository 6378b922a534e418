"""Side-by-side measurements of zfnb against its peers, each pair in one run."""
