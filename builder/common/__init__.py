"""What every stage may use: errors, atomic files, command-line helpers, intervals."""
