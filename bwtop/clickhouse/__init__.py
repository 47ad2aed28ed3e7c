"""Many hosts, one ClickHouse: what is recorded is shipped there, and read from there."""
