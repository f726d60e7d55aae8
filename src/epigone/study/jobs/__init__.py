"""What each stage's job does: read inputs, call one room, write its records. No logic of its own."""
