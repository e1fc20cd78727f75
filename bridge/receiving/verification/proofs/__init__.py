"""One module for each kind of proof: what a request must show, and how it is checked."""
