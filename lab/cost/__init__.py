"""What an estimate costs: time, bytes, collectives, memory and reads by the host, side by side."""
