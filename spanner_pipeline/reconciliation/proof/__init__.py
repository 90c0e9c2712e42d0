"""What proves a comparison: its fingerprint, evidence packs, signatures, one number in detail."""
