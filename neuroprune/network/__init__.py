"""Networks: a frozen graph with columns of numbers, trained and pruned."""
