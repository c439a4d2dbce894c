"""The conventional stack: the same service as a competent team would write it with FastAPI and SQLAlchemy.

It exists to be compared with. It must do the same job on the happy path and must not become slow by neglect:
change it whenever a change makes it faster and a team would still write it that way.
"""
