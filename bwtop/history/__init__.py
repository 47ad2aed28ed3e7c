"""Asking the past: ranges, calendar, plan and query, of whatever store keeps it."""
