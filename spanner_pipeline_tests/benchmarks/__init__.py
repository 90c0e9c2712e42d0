"""What the merge costs, beside bare engines and peers: `make bench`. Prints; asserts no times."""
