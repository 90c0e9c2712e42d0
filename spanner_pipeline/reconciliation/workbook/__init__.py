"""The workbook for finance, and the notes that people write into it."""
