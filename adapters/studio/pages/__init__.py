"""The pages of the studio, except the playground."""
