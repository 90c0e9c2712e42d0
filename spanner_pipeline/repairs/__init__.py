"""Rejected rows go out in the format of their source, and come back mended.

A repair file holds the rejected rows of one legacy file with all its columns, and beside them why
each was rejected. A person mends what is wrong; the rows that differ are kept in `repairs/`, stand
for the old ones whenever that file is read, and so are imported once. The legacy file itself stays.
"""
