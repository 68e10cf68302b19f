"""The HTTP service: a router a noun, one table of permissions, one table of errors.

The application is made by `service.api.app.create_app(container)`.
"""
