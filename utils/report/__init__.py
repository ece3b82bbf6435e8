"""What a person looks at: the HTML report, its figures, pictures of the manifold, quality maps.

`page` reads what training and testing left in an experiment's folder and fills `page.html.jinja`. `figures` draws with
matplotlib, and `svg` puts that into the page; `interactive` draws the manifold with Plotly. `scores` shows scored
images. `page_parts` has what these pages share. `pictures` and `quality_map` draw PNG files, and
`manifold_drawing` does so while the training continues.
Nothing here computes results: `utils.evaluation` does. Run `python -m utils.report --experiment_name NAME`.
"""
