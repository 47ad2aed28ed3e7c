"""ClickHouse as the store of many hosts: ship recorded intervals to it, and read them from it."""
