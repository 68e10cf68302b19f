"""Documents that leave the house for people: workbooks with the headings that offices use.

This package finishes with its modules; each turns records into bytes and reads nothing by itself.
"""
