"""What is kept of the retained photos: measured once, stored in a file, used without the photos."""
