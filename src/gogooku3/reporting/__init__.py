"""HTML pages, charts and text tables; the only package that imports plotly and jinja. Computes no score."""
