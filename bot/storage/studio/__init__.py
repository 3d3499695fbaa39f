"""Who is signed in to the studio, and which conversations are shared by link."""
