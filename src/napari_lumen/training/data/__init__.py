"""What is trained on: labelled images of folders, slides and corrections, and their splits."""
