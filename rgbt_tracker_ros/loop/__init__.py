"""`rgbt loop`: record, distil, deploy and evaluate, once round, without cameras of one's own."""
