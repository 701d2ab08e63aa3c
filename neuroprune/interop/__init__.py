"""Borders: other libraries' networks to ours and back."""
