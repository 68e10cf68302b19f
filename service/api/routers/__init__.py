"""One router a noun; `app.create_app` mounts them all."""
