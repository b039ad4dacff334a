"""Inputs that go wrong in tools of this kind, each with what is right.

Every module but `case`, `checkout` and `test_cases` lists `CASES` of one area. The tests run them on this
checkout; `benchmarks/trust.py` runs them on two and prints a table.
"""
