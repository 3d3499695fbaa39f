"""Files that people send, read in processes of their own: a file can hang or fill the memory of no other."""
