"""What a person looks at: the HTML report, its figures, pictures of the manifold, quality maps.

`page` reads what training and testing left in an experiment's folder and fills `page.html.jinja`; `figures` draws with
Plotly for the page, `pictures` and `quality_map` with matplotlib as PNG files. `scores` shows scored images.
Nothing here computes results: `utils.evaluation` does. Run `python -m utils.report --experiment_name NAME`.
"""
