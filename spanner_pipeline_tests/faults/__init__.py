"""What happens when processes race or die."""
