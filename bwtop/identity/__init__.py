"""Names for numbers: users of uids, units and containers of cgroups, names of addresses."""
