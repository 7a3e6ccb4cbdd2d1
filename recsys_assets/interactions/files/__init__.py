"""What a file holds before anybody believes a reader: its bytes unpacked, its records counted, its columns named."""
