"""Durable jobs: an accepted study is graded exactly once in effect, whatever is killed when.

dbos keeps each job as a workflow in a database: SQLite by default, PostgreSQL where several machines share the work.
"""
