"""What is read, asked or fitted on: one item, and where items come from."""
