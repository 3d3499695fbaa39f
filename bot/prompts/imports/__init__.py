"""What files of other tools may contain: secrets, which are left out, and template languages."""
