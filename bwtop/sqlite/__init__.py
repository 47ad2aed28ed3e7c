"""The history of one host: a SQLite file, written by one recorder and read by any number of readers."""
