"""What a whole network costs on each kind of target."""
