"""The HTML report of an experiment, its figures, pictures of the manifold, quality maps.

`page` reads the files of training and testing in an experiment's folder and fills `page.html.jinja`; `scores` shows
scored images. `page_parts` has what the pages share, tables and matplotlib figures as SVG for example. `figures` draws
with matplotlib, `interactive` draws the manifold with Plotly. `pictures` and `figure_file` write figures to files, and
`manifold_drawing` does so during training. `gmad` compares two models. Nothing here computes results:
`utils.evaluation` does. Run `python -m utils.report --experiment_name NAME`.
"""
