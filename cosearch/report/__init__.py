"""What people look at: tables, loop nests, figures."""
