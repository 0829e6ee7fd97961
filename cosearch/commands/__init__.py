"""What `cosearch` can be told to do: one file per subject."""
