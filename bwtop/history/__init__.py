"""Query the history: ranges, calendar, plan and query, over any store (SQLite or ClickHouse)."""
