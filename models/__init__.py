"""Pure arithmetic and statistics on numbers, arrays, frames or SQL columns. No file, database or clock."""
