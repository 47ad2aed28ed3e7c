"""The history of one machine: a SQLite file, written by a recorder and read by any number of readers."""
