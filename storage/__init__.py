"""The only package that knows PostgreSQL: migrations, named SQL statements and one repository per noun.

Every repository takes a `Database`; what it returns are values of `domain` or small frozen rows declared beside it. This file
holds no re-exports: import from the module that names the idea.
"""
