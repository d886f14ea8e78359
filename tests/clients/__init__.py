"""What `scripts/clients` runs. Start reading at main.py; a check is a function in one of the modules that it names."""
