"""From runs to results: intervals, curves, tables, tidy files and a page that shows them."""
