"""One module a question; `python -m experiments` lists them."""
