"""The only room that knows every other: `composition` compiles a directory, `lifecycle` runs what came of it."""
