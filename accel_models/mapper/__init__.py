"""The best mapping for a layer on an accelerator: one question (`best.py`), several ways to answer it."""
