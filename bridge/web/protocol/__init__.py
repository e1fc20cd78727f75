"""HTTP/1.1 on top of uvicorn's protocol class: the only place that relies on uvicorn's internals."""
