"""What the pages draw: figures worked out from documents, and charts as inline SVG that need no script.

Building blocks for every page: `canvas.Canvas` (curves, marks, maps), `rows.draw_rows` (a row for each
thing: forest plots, dots by seed, bars). May import tune.strategy and below. Imported by tune.reporting.
"""
