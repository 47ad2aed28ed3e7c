"""What was measured before: deltas kept in SQLite, in finer and coarser tiers."""
