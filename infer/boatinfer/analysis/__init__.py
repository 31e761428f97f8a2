"""What results say: beside the truth, beside other results, and beside each other."""
