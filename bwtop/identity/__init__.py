"""Who is behind a number: users of uids, units and containers of cgroups, names of addresses."""
