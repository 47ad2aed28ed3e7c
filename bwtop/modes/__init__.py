"""What bwtop does: each mode from its options on."""
