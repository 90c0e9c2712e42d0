"""The laws of money, over random deliveries."""
